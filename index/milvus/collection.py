"""A collection in Milvus, with the interface and the answers of one on this disk.

What Milvus cannot give is refused with `Unsupported`: idempotency keys (it has no write of two things at
once), and, where several processes write, conditions on versions (it has no write that depends on what is
stored).
"""

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput
from ..changes import Change
from ..errors import CollectionClosed, Unsupported, VersionConflict
from ..filters import Filter
from ..interface import AnyCollection
from ..plan import USUAL, Effort
from ..results import Hits, Record
from ..schema import Identity
from . import reading, tokens
from .connection import Connection, Row
from .expressions import translate
from .layout import Kind, key
from .versions import Versions

WRITE_BYTES = 32 << 20  # in one call of Milvus, whose messages end at 64 MiB
DELETED = 4_096  # keys in one deletion


class MilvusCollection(AnyCollection):
    """See `AnyCollection`. Made and opened by `MilvusStore`.

    A read that runs while a write replaces items may see a mixture; one that begins after it does not.
    """

    def __init__(self, connection: Connection, table: str, name: str, identity: Identity, kind: Kind) -> None:
        super().__init__(name, f"{connection.address}/{name}", identity)
        self._connection, self._table, self._kind = connection, table, kind
        self._writing = threading.Lock()  # one write at a time: the newest wins, and versions say so
        self._closed = False
        self._versions = Versions(lambda last: connection.count(table, f"version > {last}"))

    def count(self, filter: Filter | None = None) -> int:
        """The number of items, of those that pass the filter if one is given."""
        return self._open().count(self._table, self._condition(filter))

    def delete_where(self, filter: Filter, *, idempotency_key: str | None = None) -> int:
        """The number of items deleted, once that is durable: those that pass the filter at that moment."""
        _refuse_key(idempotency_key)
        condition, deleted = self._condition(filter) or translate(filter).text, 0
        with self._writing:
            while rows := self._open().query(self._table, condition, ["key"], DELETED):
                self._connection.call("delete", self._table, ids=[row["key"] for row in rows])
                deleted += len(rows)
        return deleted

    def close(self) -> None:
        """Lets running writes finish and releases the collection; calling it again does nothing."""
        with self._writing:
            self._closed = True

    def _open(self) -> Connection:
        if self._closed:
            raise CollectionClosed(f"{self._place} was closed")
        return self._connection

    def _condition(self, filter: Filter | None) -> str:
        """The expression of a filter, empty for none; refused where it would be wrong for a stored item."""
        if filter is None:
            return ""
        expression = translate(filter)
        if expression.doubtful:
            listed = ", ".join(f'"{one}"' for one in expression.doubtful)
            if self._open().count(self._table, f"array_contains_any(tokens, [{listed}])"):
                fields = ", ".join(sorted(set(expression.doubtful.values())))
                raise Unsupported(
                    f"a range over {fields:.200}: items have lists of more than {tokens.RANGED} values there,"
                    " in which Milvus cannot look for a range"
                )
        return expression.text

    def _get(self, names: list[str], vectors: bool) -> Mapping[str, Record]:
        keys = [key(name) for name in dict.fromkeys(names)]
        found = reading.records(self._open(), self._table, keys, self.dim, vectors)
        return {record.id: record for record in found.values()}

    def _scan(self, limit: int, after: int, vectors: bool, filter: Filter | None) -> list[Record]:
        condition = self._condition(filter)
        return reading.page(self._open(), self._table, limit, after, self.dim, vectors, condition)

    def _search(
        self,
        queries_QD: NDArray[np.float32],
        k: int,
        filter: Filter | None,
        *,
        threshold: float | None = None,
        effort: Effort = USUAL,
        diversity: float = 0.0,
    ) -> list[Hits]:
        return reading.search(
            self._open(),
            self._table,
            self._kind,
            queries_QD,
            k,
            self._condition(filter),
            threshold=threshold,
            effort=effort,
            diversity=diversity,
        )

    def _write(self, change: Change) -> int:
        _refuse_key(change.request.key if change.request else None)
        if change.expected is not None and any(one is not None for one in change.expected):
            if self._connection.address.many_writers:
                raise Unsupported("if_version needs ?writers=one: Milvus has no conditional write")
        rows = None if change.vectors_ND is None else _rows(change)
        with self._writing:
            self._open()
            held = self._held(change) if rows is None or change.expected is not None else {}
            _require_versions(change, held)
            if rows is None:
                return self._delete([key(id) for id in held])
            for row, version in zip(rows, self._versions.take(len(rows)), strict=True):
                row["version"] = version
            self._connection.call("upsert", self._table, rows)
            return len(rows)

    def _held(self, change: Change) -> Mapping[str, Record]:
        return self._get(list(change.ids), False)

    def _delete(self, keys: list[str]) -> int:
        for some in reading.chunks(keys, DELETED):
            self._connection.call("delete", self._table, ids=list(some))
        return len(keys)


def _rows(change: Change) -> list[Row]:
    """The rows to write, without their versions; refused if they are too much for one write."""
    if change.vectors_ND is None:
        return []
    size = change.vectors_ND.nbytes + sum(len(text.encode()) for text in change.metadata)
    if size > WRITE_BYTES:
        raise InvalidInput(
            f"{len(change.ids)} items of {size} bytes in one write; a collection in Milvus takes at most"
            f" {WRITE_BYTES} bytes"
        )
    made = []
    for index, (id, text, vector_D) in enumerate(
        zip(change.ids, change.metadata, change.vectors_ND, strict=True)
    ):
        held, ordered = tokens.facts(text, index)
        made.append(
            {"key": key(id), "metadata": text[1:-1], "tokens": held, "ordered": ordered, "vector": vector_D}
        )
    return made


def _require_versions(change: Change, held: Mapping[str, Record]) -> None:
    """Raises `VersionConflict` for the first id that has not the version it must have."""
    for id, expected in zip(change.ids, change.expected or (), strict=False):
        current = held[id].version if id in held else 0
        if expected is not None and current != expected:
            raise VersionConflict(id, current, expected)


def _refuse_key(key: str | None) -> None:
    if key is not None:
        raise Unsupported("idempotency keys: Milvus cannot store a key and what it is for in one step")
