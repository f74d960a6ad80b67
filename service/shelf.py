"""The collections of one model: what the engine's threads do with a store. Nothing here is asynchronous.

D = dimensions of the model's vectors, Q = queries.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ..errors import InvalidInput, PolylensError
from ..index.collection import Collection
from ..index.errors import CollectionNotFound, FingerprintMismatch
from ..index.filters import Filter
from ..index.interface import AnyCollection, AnyStore
from ..index.plan import Effort
from ..index.policy import AUTO
from ..index.results import Record
from ..index.validation import MAX_K
from .errors import InvalidField, NotOffered, PointNotFound
from .records import CollectionInfo, Hit, Manner, Page, Point, SnapshotFile, Sought, StoredPoint, Vector

Row = tuple[int, Point, Vector]  # position in the request, point, its unit vector


class Shelf:
    """Opens, makes and drops collections for the model of this width and fingerprint."""

    def __init__(self, store: AnyStore[AnyCollection], dim: int, fingerprint: str) -> None:
        self.store, self._dim, self._fingerprint = store, dim, fingerprint

    def open(self, name: str) -> AnyCollection:
        """The collection, if this model filled it; refused otherwise."""
        collection = self.store.open(name)
        if problem := self._problem(collection):
            raise FingerprintMismatch(f"collection {name!r} cannot be used: {problem}")
        return collection

    def open_or_only(self, name: str) -> AnyCollection:
        """The collection, or the only one there is if the name is empty."""
        if name:
            return self.open(name)
        names = [entry.name for entry in self.store.list()]
        if not names:
            raise CollectionNotFound("there are no collections yet")
        if len(names) > 1:
            raise InvalidField("collection", f"there are several, name one of: {', '.join(names[:20])}")
        return self.open(names[0])

    def create(self, name: str, exist_ok: bool, dtype: str, index: str) -> CollectionInfo:
        """The new, empty collection; with `exist_ok` also an existing one of this model."""
        if exist_ok:
            try:
                return self._info(self.open(name))
            except CollectionNotFound:
                pass
        return self._info(
            self.store.create(
                name,
                dim=self._dim,
                fingerprint=self._fingerprint,
                dtype=dtype or "float32",
                index=index or AUTO,
                exist_ok=exist_ok,
            )
        )

    def info(self, name: str) -> CollectionInfo:
        """One collection, whichever model filled it."""
        return self._info(self.store.open(name))

    def infos(self) -> list[CollectionInfo]:
        """All collections by name, with the problem of those that cannot be used."""
        return [
            CollectionInfo(entry.name, 0, "", 0, _reason(entry.error))
            if entry.collection is None
            else self._info(entry.collection)
            for entry in self.store.list()
        ]

    def _info(self, one: AnyCollection) -> CollectionInfo:
        return CollectionInfo(one.name, one.dim, one.fingerprint, one.count(), self._problem(one))

    def _problem(self, collection: AnyCollection) -> str:
        if collection.fingerprint == self._fingerprint:
            return ""
        return (
            f"it was filled by the model with fingerprint {collection.fingerprint:.16}…, "
            f"this server runs {self._fingerprint:.16}…"
        )


def snapshot(collection: AnyCollection, folder: Path) -> SnapshotFile:
    """A snapshot of the collection in a new file of the folder, named after it and the moment."""
    if not isinstance(collection, Collection):
        raise NotOffered("collections in a vector database are copied by the database itself")
    folder.mkdir(parents=True, exist_ok=True)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    done = collection.snapshot(folder / f"{collection.path.name}-{moment}.tar")
    return SnapshotFile(done.path.name, done.size, done.count)


def search(
    collection: AnyCollection, sought: Sequence[Sought], k: int, condition: Filter | None, manner: Manner
) -> list[list[Hit]]:
    """The best `k` points for each, best first."""
    if not sought:
        return []
    vectors_QD = np.stack([one.vector_D for one in sought])
    wanted = min(k + max(len(one.itself) for one in sought), MAX_K)
    if manner.threshold is not None:
        found = collection.range_search(vectors_QD, manner.threshold, wanted, condition)
    else:
        effort = Effort(**asdict(manner.effort))
        found = collection.search(vectors_QD, wanted, condition, effort=effort, diversity=manner.diversity)
    return [
        [Hit(hit.id, hit.score, hit.metadata) for hit in hits if hit.id not in one.itself][:k]
        for one, hits in zip(sought, found, strict=True)
    ]


def vectors_of(collection: AnyCollection, ids: Sequence[str]) -> list[Vector | PolylensError]:
    """The unit vector (D,) stored under each id, or the error of the id."""
    return [_vector_of(collection, id) for id in ids]


def _vector_of(collection: AnyCollection, id: str) -> Vector | PolylensError:
    try:
        (record,) = collection.get([id])
    except InvalidInput as error:
        return error
    return PointNotFound(id) if record is None or record.vector is None else record.vector


def get(collection: AnyCollection, ids: Sequence[str], vectors: bool) -> list[StoredPoint | None]:
    """The point of each id, or None."""
    return [None if one is None else _stored(one) for one in collection.get(ids, vectors)]


def scan(collection: AnyCollection, limit: int, after: int, vectors: bool, condition: Filter | None) -> Page:
    """The points behind the version `after`, in the order in which they were last written."""
    points = [_stored(one) for one in collection.scan(limit, after, vectors, condition)]
    return Page(points, points[-1].version if len(points) == limit else 0)


def write(collection: AnyCollection, rows: Sequence[Row], key: str = "") -> dict[int, Exception]:
    """The errors of the rows that the collection refuses, by position; all others are stored.

    With a key, or where a version is expected, all rows are stored or none.
    """
    if not rows:
        return {}
    versions = [point.if_version for _, point, _ in rows]
    try:
        collection.upsert(
            [point.id for _, point, _ in rows],
            np.stack([vector_D for _, _, vector_D in rows]),
            [dict(point.metadata) for _, point, _ in rows],
            if_version=versions,
            idempotency_key=key or None,
        )
    except InvalidInput as error:
        if key or any(one is not None for one in versions):
            raise
        if len(rows) == 1:
            return {rows[0][0]: error}
        half = len(rows) // 2
        return write(collection, rows[:half]) | write(collection, rows[half:])
    return {}


def _stored(one: Record) -> StoredPoint:
    return StoredPoint(one.id, one.metadata, one.vector, one.version)


def _reason(error: PolylensError | None) -> str:
    """Why a collection cannot be opened, without the paths that the error's own message has."""
    return (type(error).__doc__ or "").split("\n")[0] if error is not None else ""
