"""Calls to Milvus: errors become ours, reads see every write acknowledged before, nothing waits for ever."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import grpc

from ...errors import require
from ..errors import CollectionBusy, CollectionClosed, StorageFailed, Unreachable
from .address import Address

Row = dict[str, Any]
TIMEOUT = 30.0  # seconds per call; pymilvus tries again until then
STRONG = "Strong"  # a read waits until the server has applied all writes that were acknowledged before it
GONE = ("timeout", "unavailable", "timed out")  # pymilvus tells by words only
_open_files: set[Path] = set()  # Milvus Lite shares one server among all who open a file in this process
_guard = threading.Lock()


class Connection:
    """One connection, which any number of threads may use."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.pymilvus = require("pymilvus", "milvus")
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs each error, which we raise as well
        self._closed = False
        self._file: Path | None = None
        if address.lite:
            require("milvus_lite", "milvus")
            self._claim(Path(address.uri).resolve())
        try:
            with self._translated("connect"):
                self._client = self.pymilvus.MilvusClient(address.uri, token=address.token, timeout=TIMEOUT)
        except BaseException:
            self._release()
            raise

    def call(self, method: str, *arguments: object, **options: object) -> Any:
        """What the client's method answers."""
        if self._closed:
            raise CollectionClosed(f"the store {self.address} was closed")
        with self._translated(method):
            return getattr(self._client, method)(*arguments, timeout=TIMEOUT, **options)

    def query(
        self, collection: str, filter: str, fields: Sequence[str], limit: int | None = None
    ) -> list[Row]:
        """The rows that pass the filter, with these fields."""
        options = {} if limit is None else {"limit": limit}
        found = self.call(
            "query",
            collection,
            filter=filter,
            output_fields=list(fields),
            consistency_level=STRONG,
            **options,
        )
        return [dict(row) for row in found]

    def count(self, collection: str, filter: str) -> int:
        """How many rows pass the filter."""
        ((row),) = self.query(collection, filter, ["count(*)"])
        return cast(int, row["count(*)"])

    def search(
        self,
        collection: str,
        queries: list[Any],
        limit: int,
        filter: str,
        fields: list[str],
        **params: object,
    ) -> list[list[Mapping[str, Any]]]:
        """For each query the rows that Milvus thinks nearest, best first."""
        found = self.call(
            "search",
            collection,
            data=queries,
            anns_field="vector",
            limit=limit,
            filter=filter,
            output_fields=fields,
            search_params={"metric_type": "IP", "params": params},
            consistency_level=STRONG,
        )
        return [[dict(hit["entity"]) for hit in hits] for hits in found]

    def close(self) -> None:
        """Ends the connection; Milvus Lite's file is free again."""
        if not self._closed:
            self._closed = True
            self._client.close()
            self._release()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise Unreachable(f"{self.address}: {what}: {_text(error)}") from error
        except self.pymilvus.MilvusException as error:
            text = _text(error)
            kind = Unreachable if any(word in text.lower() for word in GONE) else StorageFailed
            raise kind(f"{self.address}: {what}: {text}") from error

    def _claim(self, file: Path) -> None:
        with _guard:
            if file in _open_files:
                raise CollectionBusy(f"{file} is open in this process already")
            _open_files.add(file)
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)

    def _release(self) -> None:
        if self._file is not None:
            manager = require("milvus_lite.server_manager", "milvus").server_manager_instance
            manager.release_server(self.address.uri)
            with _guard:
                _open_files.discard(self._file)
            self._file = None


def _text(error: Exception) -> str:
    return str(getattr(error, "message", "") or error)[:500]
