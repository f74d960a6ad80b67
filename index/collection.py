"""A durable collection of unit vectors with ids and metadata, searched exactly."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidInput
from . import rows, schema, searching, validation
from .changes import Change, digest
from .database import MIN_FREE, Database, reported
from .errors import (
    CollectionExists,
    CollectionNotFound,
    CorruptCollection,
    DimensionMismatch,
    FingerprintMismatch,
    StorageFull,
)
from .files import Files, Lock
from .filters import Filter, to_sql
from .memory import Memory
from .requests import Request
from .results import Hits, Record
from .schema import Identity
from .segment import WASTE_ROWS, WASTE_SHARE
from .writer import Writer

DATABASE = "collection.db"
LOCK = "LOCK"
CHECK_BYTES = 2 * 2**30  # larger databases are not checked before serving after an unclean stop
StrPath = str | os.PathLike[str]


class Collection:
    """Vectors of one width from one model. Use it from any number of threads, from one process at a time.

    A write returns once it is on disk (synced) and searchable; a search sees a write wholly or not at all.
    Upserting an id replaces the item. The SQLite file is the truth; what is in memory is rebuilt from it at
    opening.
    """

    def __init__(self, path: Path, lock: Lock, database: Database, identity: Identity) -> None:
        """Use `create` or `open`."""
        self.path, self.dim, self.fingerprint = path, identity.dim, identity.fingerprint
        self.metric, self.dtype = identity.metric, identity.dtype
        self._identity, self._storage = identity, identity.storage
        self._lock, self._database = lock, database
        self._memory = _load(database, identity)
        self._writer = Writer(database, self._memory)

    @classmethod
    def create(
        cls,
        path: StrPath,
        *,
        dim: int,
        fingerprint: str,
        metric: str = "cosine",
        dtype: str = "float32",
        exist_ok: bool = False,
        files: Files | None = None,
        min_free: int = MIN_FREE,
    ) -> Self:
        """A new, empty collection in the folder `path`; with `exist_ok` also an existing one like it.

        With the metric "cosine" vectors are unit; "inner_product" takes them of any length. With the dtype
        "float16" they are rounded when stored, to half the bytes, and scores are those of what is stored.
        """
        wanted = Identity(
            validation.whole("dim", dim, 1, validation.MAX_DIM),
            validation.fingerprint(fingerprint),
            validation.choice("metric", metric, schema.METRICS),
            validation.choice("dtype", dtype, schema.DTYPES),
        )
        folder, files = Path(path), files or Files()
        files.make_folder(folder)
        strangers = {entry.name for entry in folder.iterdir()} - {
            LOCK,
            *(DATABASE + s for s in ("", "-wal", "-shm")),
        }
        if strangers:
            raise CollectionExists(f"{folder} holds other files: {', '.join(sorted(strangers)[:3])}")
        with contextlib.ExitStack() as undo:
            lock, database, found = _acquire(folder, files, min_free, undo)
            if found is None:
                database.require_space()
                with database.transaction() as connection:
                    schema.create(connection, wanted)
                files.sync_folder(folder)
            elif not exist_ok:
                raise CollectionExists(f"{folder} is a collection already")
            else:
                _require(folder, found, wanted.fingerprint, wanted.dim, wanted.metric, wanted.dtype)
            collection = cls(folder, lock, database, wanted)
            undo.pop_all()
        return collection

    @classmethod
    def open(
        cls,
        path: StrPath,
        *,
        fingerprint: str | None = None,
        files: Files | None = None,
        min_free: int = MIN_FREE,
    ) -> Self:
        """The collection in the folder `path`; refused if a fingerprint is given and it has another.

        While fewer than `min_free` bytes are free on its disk, it takes no writes but deletions.
        """
        folder = Path(path)
        if not (folder / DATABASE).is_file():
            raise CollectionNotFound(f"there is no collection in {folder}")
        with contextlib.ExitStack() as undo:
            lock, database, found = _acquire(folder, files or Files(), min_free, undo)
            if found is None:
                raise CollectionNotFound(f"the collection in {folder} was never completely created")
            _require(folder, found, fingerprint)
            collection = cls(folder, lock, database, found)
            undo.pop_all()
        return collection

    def require(
        self, fingerprint: str, dim: int | None = None, metric: str | None = None, dtype: str | None = None
    ) -> None:
        """Raises `FingerprintMismatch` unless vectors of this model (and width, ...) belong here."""
        _require(self.path, self._identity, fingerprint, dim, metric, dtype)

    def upsert(
        self,
        ids: Iterable[str],
        vectors_ND: ArrayLike,
        metadata: Iterable[Mapping[str, Any]] | None = None,
        *,
        normalize: bool = False,
        if_version: Iterable[int | None] | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """The number of items stored, all or none, once they are durable and searchable.

        Where an id comes twice the later one wins, as if they had been sent one after the other. Vectors must
        be unit (within 1e-3, stored bit by bit) unless `normalize` asks to scale them. `if_version` says for
        each id which version it must have (0: it must not be there, None: any), else `VersionConflict`. The
        same call again with the same `idempotency_key`, within a day, answers the same and writes nothing.
        """
        names = validation.item_ids(ids)
        vectors = validation.vectors(
            vectors_ND, dim=self.dim, limit=validation.MAX_ROWS, normalize=normalize, metric=self.metric
        ).astype(self._storage, copy=False)
        if len(vectors) != len(names):
            raise DimensionMismatch(f"{len(vectors)} vectors for {len(names)} ids")
        texts = validation.metadata_texts(metadata, len(names))
        expected = validation.versions(if_version, names)
        last = sorted({name: index for index, name in enumerate(names)}.values())
        if len(last) < len(names):
            names, texts, vectors = [names[i] for i in last], [texts[i] for i in last], vectors[last]
        return self._write(Change(names, texts, vectors, expected=expected), idempotency_key)

    def delete(
        self,
        ids: Iterable[str],
        *,
        if_version: Iterable[int | None] | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """The number of items deleted, once that is durable; ids that are not there are ignored."""
        names = validation.item_ids(ids)
        return self._write(Change(names, expected=validation.versions(if_version, names)), idempotency_key)

    def delete_where(self, filter: Filter, *, idempotency_key: str | None = None) -> int:
        """The number of items deleted, once that is durable: those that pass the filter at that moment."""
        return self._write(Change(condition=to_sql(filter)), idempotency_key)

    def _write(self, change: Change, key: str | None) -> int:
        if key is not None:
            change.request = Request(validation.idempotency_key(key), digest(change))
        elif not change.ids and change.condition is None:
            return 0
        return self._writer.submit(change).result

    def get(self, ids: Iterable[str], vectors: bool = True) -> list[Record | None]:
        """For each id, in order, its record or None."""
        names = validation.item_ids(ids)
        with self._database.reader() as connection:
            found = rows.by_ids(connection, names, self._storage if vectors else None)
        return [found.get(name) for name in names]

    def scan(
        self, limit: int = 100, after: int = 0, vectors: bool = True, filter: Filter | None = None
    ) -> list[Record]:
        """The next `limit` records in the order they were last written, behind the one with version `after`.

        Go on with the last record's version. What is written meanwhile comes at the end, so an item that
        stays is seen at least once, and one that is replaced meanwhile may be seen twice.
        """
        limit = validation.whole("limit", limit, 1, validation.MAX_PAGE)
        after = validation.whole("after", after, 0, 2**63 - 1)
        condition = None if filter is None else to_sql(filter)
        with self._database.reader() as connection:
            return rows.page(connection, after, limit, self._storage if vectors else None, condition)

    def count(self, filter: Filter | None = None) -> int:
        """The number of items, of those that pass the filter if one is given."""
        if filter is None:
            return self._memory.view.count
        condition = to_sql(filter)
        with self._database.reader() as connection:
            return rows.count(connection, condition)

    def search(
        self,
        vectors_QD: ArrayLike,
        k: int = 10,
        filter: Filter | None = None,
        *,
        normalize: bool = False,
        diversity: float = 0.0,
    ) -> list[Hits]:
        """For each query the `k` best items by the metric (fewer if there are fewer) that pass the filter.

        Exact, and independent of batching, deletions and reopening: scores are computed in float64 and
        rounded to float32, equal ones stand in the order of writing. With a `diversity` above 0, up to 1, the
        hits are chosen from the 4 k + 20 best one by one, for their score less their likeness to those
        chosen before, and stand in the order of that choice.
        """
        k = validation.whole("k", k, 1, validation.MAX_K)
        diversity = validation.fraction("diversity", diversity, 0, 1)
        queries = self._queries(vectors_QD, normalize)
        condition = None if filter is None else to_sql(filter)
        return searching.search(self._database, self._memory, queries, k, condition, diversity=diversity)

    def range_search(
        self,
        vectors_QD: ArrayLike,
        threshold: float,
        limit: int = 1_000,
        filter: Filter | None = None,
        *,
        normalize: bool = False,
    ) -> list[Hits]:
        """For each query all items whose score is at least the threshold, or the `limit` best of them."""
        limit = validation.whole("limit", limit, 1, validation.MAX_RANGE)
        threshold = validation.fraction("threshold", threshold, -validation.MAX_SCORE, validation.MAX_SCORE)
        queries = self._queries(vectors_QD, normalize)
        if limit * len(queries) > validation.MAX_RESULTS:
            raise InvalidInput(
                f"{len(queries)} queries of {limit} hits, expected at most {validation.MAX_RESULTS} in all"
            )
        condition = None if filter is None else to_sql(filter)
        return searching.search(self._database, self._memory, queries, limit, condition, threshold=threshold)

    def _queries(self, vectors_QD: ArrayLike, normalize: bool) -> NDArray[np.float32]:
        return validation.vectors(
            vectors_QD, dim=self.dim, limit=validation.MAX_QUERIES, normalize=normalize, metric=self.metric
        )

    def close(self) -> None:
        """Lets running writes finish and releases the collection; calling it again does nothing."""
        healthy = self._writer.close()
        if healthy is None:
            return
        try:
            self._database.close()
        finally:
            self._lock.release(clean=healthy)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Collection {self.path} of {self.count()} vectors of width {self.dim}>"


def _acquire(
    folder: Path, files: Files, min_free: int, undo: contextlib.ExitStack
) -> tuple[Lock, Database, Identity | None]:
    """The folder's lock and database, released by `undo`, and the identity; None if still to be created."""
    lock = files.lock(folder / LOCK)
    undo.callback(lock.release, clean=not lock.unclean)  # what did not open is to be checked again
    database = Database(folder / DATABASE, files, min_free=min_free)
    undo.callback(database.close)
    if lock.unclean and database.path.stat().st_size <= CHECK_BYTES:
        database.check()
    with reported(database.path):
        outdated = schema.outdated(database.writer)
    if outdated:
        with database.transaction() as connection:
            schema.migrate(connection)
    with reported(database.path):
        return lock, database, schema.identity(database.writer)


def _require(
    folder: Path,
    found: Identity,
    fingerprint: str | None,
    dim: int | None = None,
    metric: str | None = None,
    dtype: str | None = None,
) -> None:
    if fingerprint is not None and fingerprint != found.fingerprint:
        raise FingerprintMismatch(f"{folder} was filled by model {found.fingerprint}, not by {fingerprint}")
    if dim is not None and dim != found.dim:
        raise DimensionMismatch(f"{folder} holds vectors of width {found.dim}, not {dim}")
    for name, wanted, got in (("metric", metric, found.metric), ("dtype", dtype, found.dtype)):
        if wanted is not None and wanted != got:
            raise CollectionExists(f"{folder} has the {name} {got}, not {wanted}")


def _load(database: Database, identity: Identity) -> Memory:
    """The live rows in memory, read block by block."""
    with reported(database.path):
        live, dead = rows.counts(database.writer)
    if len(dead) >= WASTE_ROWS and len(dead) > WASTE_SHARE * (live + len(dead)):
        with contextlib.suppress(StorageFull), database.transaction() as connection:
            rows.purge(connection, dead)
    memory = Memory(identity.dim, live, identity.storage.newbyteorder("="))
    try:
        with reported(database.path):
            for block in rows.live_blocks(database.writer, identity.dim, identity.storage):
                memory.apply([block], dead[:0])
    except (
        TypeError,
        ValueError,
        OverflowError,
    ) as error:  # of columns that hold what no write of ours put there
        raise CorruptCollection(f"{database.path}: {error}") from error
    if memory.view.count != live:  # counted in the index of ids
        raise CorruptCollection(f"{database.path} has {memory.view.count} live rows, its index of ids {live}")
    return memory
