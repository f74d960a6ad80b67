"""What every collection and store can do, wherever the vectors are: on this disk, or in a vector database.

Here callers' data is checked and the answers are described; the classes below `AnyCollection` carry it out.
Legend: N rows, Q queries, D width.
"""

import abc
import contextlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidInput, PolylensError
from . import validation
from .changes import Change, digest
from .errors import CollectionNotFound, DimensionMismatch, again
from .filters import Filter
from .plan import USUAL, Effort
from .policy import AUTO
from .requests import Request
from .results import Hits, Record
from .schema import Identity


class AnyCollection(abc.ABC):
    """Vectors of one width from one model. Use it from any number of threads, from one process at a time.

    A write returns once it is durable and searchable; a search sees a write wholly or not at all. Upserting
    an id replaces the item.
    """

    def __init__(self, name: str, place: object, identity: Identity) -> None:
        """`name` is what a store calls it, `place` what an error says of where it is."""
        self.name, self._place, self._identity = name, place, identity
        self.dim, self.fingerprint = identity.dim, identity.fingerprint
        self.metric, self.dtype = identity.metric, identity.dtype

    def require(
        self, fingerprint: str, dim: int | None = None, metric: str | None = None, dtype: str | None = None
    ) -> None:
        """Raises `FingerprintMismatch` unless vectors of this model (and width, ...) belong here."""
        self._identity.require(self._place, fingerprint, dim, metric, dtype)

    def get(self, ids: Iterable[str], vectors: bool = True) -> list[Record | None]:
        """For each id, in order, its record or None."""
        names = validation.item_ids(ids)
        found = self._get(names, vectors)
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
        return self._scan(limit, after, vectors, filter)

    @abc.abstractmethod
    def count(self, filter: Filter | None = None) -> int:
        """The number of items, of those that pass the filter if one is given."""

    def search(
        self,
        vectors_QD: ArrayLike,
        k: int = 10,
        filter: Filter | None = None,
        *,
        normalize: bool = False,
        effort: Effort = USUAL,
        diversity: float = 0.0,
    ) -> list[Hits]:
        """For each query the `k` best items by the metric (fewer if there are fewer) that pass the filter.

        Scores are computed in float64 and rounded to float32, equal ones stand in the order of writing. A
        search is exact, and independent of batching, deletions and reopening, unless the collection has
        segments with an index (see `configure`): these are tuned to find 99 of 100; `effort` asks for more,
        for less, or for an exact search. With a `diversity` above 0, up to 1, the hits are chosen from the
        4 k + 20 best one by one, for their score less their likeness to those chosen before (maximal
        marginal relevance), and stand in the order of that choice.
        """
        k = validation.whole("k", k, 1, validation.MAX_K)
        diversity = validation.fraction("diversity", diversity, 0, 1)
        queries = self._queries(vectors_QD, normalize)
        return self._search(queries, k, filter, effort=effort, diversity=diversity)

    def range_search(
        self,
        vectors_QD: ArrayLike,
        threshold: float,
        limit: int = 1_000,
        filter: Filter | None = None,
        *,
        normalize: bool = False,
    ) -> list[Hits]:
        """For each query all items whose score is at least the threshold, or the `limit` best of them.

        Always exact. Threshold and scores are compared as float32.
        """
        limit = validation.whole("limit", limit, 1, validation.MAX_RANGE)
        threshold = validation.fraction("threshold", threshold, -validation.MAX_SCORE, validation.MAX_SCORE)
        queries = self._queries(vectors_QD, normalize)
        if limit * len(queries) > validation.MAX_RESULTS:
            raise InvalidInput(
                f"{len(queries)} queries of {limit} hits, expected at most {validation.MAX_RESULTS} in all"
            )
        return self._search(queries, limit, filter, threshold=threshold, effort=Effort(exact=True))

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
        ).astype(self._identity.storage, copy=False)
        if len(vectors) != len(names):
            raise DimensionMismatch(f"{len(vectors)} vectors for {len(names)} ids")
        texts = validation.metadata_texts(metadata, len(names))
        expected = validation.versions(if_version, names)
        last = sorted({name: index for index, name in enumerate(names)}.values())
        if len(last) < len(names):
            names, texts, vectors = [names[i] for i in last], [texts[i] for i in last], vectors[last]
        return self._submit(Change(names, texts, vectors, expected=expected), idempotency_key)

    def delete(
        self,
        ids: Iterable[str],
        *,
        if_version: Iterable[int | None] | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """The number of items deleted, once that is durable; ids that are not there are ignored."""
        names = validation.item_ids(ids)
        return self._submit(Change(names, expected=validation.versions(if_version, names)), idempotency_key)

    @abc.abstractmethod
    def delete_where(self, filter: Filter, *, idempotency_key: str | None = None) -> int:
        """The number of items deleted, once that is durable: those that pass the filter at that moment."""

    @abc.abstractmethod
    def close(self) -> None:
        """Lets running writes finish and releases the collection; calling it again does nothing."""

    def _queries(self, vectors_QD: ArrayLike, normalize: bool) -> NDArray[np.float32]:
        return validation.vectors(
            vectors_QD, dim=self.dim, limit=validation.MAX_QUERIES, normalize=normalize, metric=self.metric
        )

    def _submit(self, change: Change, key: str | None) -> int:
        if key is not None:
            change.request = Request(validation.idempotency_key(key), digest(change))
        elif not change.ids and change.condition is None:
            return 0
        return self._write(change)

    @abc.abstractmethod
    def _get(self, names: list[str], vectors: bool) -> Mapping[str, Record]: ...

    @abc.abstractmethod
    def _scan(self, limit: int, after: int, vectors: bool, filter: Filter | None) -> list[Record]: ...

    @abc.abstractmethod
    def _search(
        self,
        queries_QD: NDArray[np.float32],
        k: int,
        filter: Filter | None,
        *,
        threshold: float | None = None,
        effort: Effort = USUAL,
        diversity: float = 0.0,
    ) -> list[Hits]: ...

    @abc.abstractmethod
    def _write(self, change: Change) -> int:
        """Carries out an upsert or a deletion by ids, which was checked; the number of items."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._place}, vectors of width {self.dim}>"


@dataclass(frozen=True, slots=True)
class Entry:
    """One collection of a store: open, or with the error that opening it met."""

    name: str
    collection: AnyCollection | None
    error: PolylensError | None


C = TypeVar("C", bound=AnyCollection, covariant=True)


class AnyStore(abc.ABC, Generic[C]):
    """Collections by name. It holds every one it opened or created until it is closed.

    Any number of threads may use it.
    """

    def __init__(self) -> None:
        self._open: dict[str, C] = {}
        self._errors: dict[str, PolylensError] = {}
        self._lock = threading.RLock()

    @abc.abstractmethod
    def create(
        self,
        name: str,
        *,
        dim: int,
        fingerprint: str,
        metric: str = "cosine",
        dtype: str = "float32",
        index: str = AUTO,
        exist_ok: bool = False,
    ) -> C:
        """A new, empty collection; with `exist_ok` also an existing one for the same vectors."""

    def open(self, name: str, *, fingerprint: str | None = None) -> C:
        """The collection of this name or alias, opened if it was not.

        Refused if a fingerprint is given and it has another.
        """
        with self._lock:
            name = self._resolved(name)
            if name not in self._open:
                try:
                    self._open[name] = self._opened(name)
                    self._errors.pop(name, None)
                except CollectionNotFound:
                    self._errors.pop(name, None)
                    raise CollectionNotFound(f"there is no collection {name!r}") from None
                except PolylensError as error:
                    self._errors[name] = again(error)
                    raise
            if fingerprint is not None:
                self._open[name].require(fingerprint)
            return self._open[name]

    def open_all(self) -> tuple[Entry, ...]:
        """Every collection there is, opened where possible: a bad one never stops the others."""
        with self._lock:
            for name in self._names():
                with contextlib.suppress(PolylensError):  # kept for `list` and `get`
                    self.open(name)
            return self.list()

    def get(self, name: str) -> C:
        """The open collection of this name or alias, or the error that opening it met.

        `CollectionNotFound` if neither was tried.
        """
        with self._lock:
            name = self._resolved(name)
            if name in self._open:
                return self._open[name]
            if name in self._errors:
                raise again(self._errors[name])
        raise CollectionNotFound(f"there is no open collection {name!r}")

    def list(self) -> tuple[Entry, ...]:
        """All collections that were opened, or could not be, by name."""
        with self._lock:
            names = sorted({*self._open, *self._errors})
            return tuple(Entry(name, self._open.get(name), self._errors.get(name)) for name in names)

    @abc.abstractmethod
    def drop(self, name: str) -> None:
        """Deletes the collection and all that is in it, for good, even one that cannot be opened.

        Refused while an alias points to it.
        """

    @abc.abstractmethod
    def alias(self, name: str, target: str) -> None:
        """Makes `name` a second name of the collection `target`, in one step if it was one of another."""

    @abc.abstractmethod
    def unalias(self, name: str) -> None:
        """Removes the alias; its collection stays."""

    @abc.abstractmethod
    def aliases(self) -> dict[str, str]:
        """The collection of each alias."""

    def close(self) -> None:
        """Closes every collection."""
        with self._lock:
            collections, self._open = tuple(self._open.values()), {}
        for collection in collections:
            collection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abc.abstractmethod
    def _names(self) -> Sequence[str]:
        """The names of all collections that are there."""

    @abc.abstractmethod
    def _resolved(self, name: str) -> str:
        """The name of the collection, which an alias may have been given for."""

    @abc.abstractmethod
    def _opened(self, name: str) -> C:
        """The collection of this name, newly opened; `CollectionNotFound` if there is none."""
