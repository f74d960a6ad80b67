"""What a collection answers: items by id, in pages, by likeness; all but what changes it.

Legend: Q queries, D width.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidInput
from . import rows, searching, validation
from .database import Database
from .duplicates import Progress
from .filters import Filter, to_sql
from .memory import Memory
from .plan import USUAL, Effort
from .results import Hits, Pair, Record
from .schema import Identity


class Reading:
    """The base of `Collection`: its questions. Any number of threads may ask them at once."""

    def __init__(self, database: Database, identity: Identity, memory: Memory) -> None:
        self.dim, self.fingerprint = identity.dim, identity.fingerprint
        self.metric, self.dtype = identity.metric, identity.dtype
        self._identity, self._storage = identity, identity.storage
        self._database, self._memory = database, memory

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
        condition = None if filter is None else to_sql(filter)
        return searching.search(
            self._database, self._memory, queries, k, condition, effort=effort, diversity=diversity
        )

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
        condition = None if filter is None else to_sql(filter)
        return searching.search(self._database, self._memory, queries, limit, condition, threshold=threshold)

    def near_duplicates(
        self,
        threshold: float = 0.95,
        limit: int = 1_000,
        filter: Filter | None = None,
        *,
        progress: Progress | None = None,
    ) -> list[Pair]:
        """All pairs of items whose cosine is at least the threshold, or the `limit` best of them, best first.

        Every item is compared with every other: twice the items take four times as long. `progress` is
        called with the share done, from 0 to 1; what it raises ends the work.
        """
        return searching.near_duplicates(
            self._database,
            self._memory,
            validation.fraction("threshold", threshold, 0, 1),
            validation.whole("limit", limit, 1, validation.MAX_PAIRS),
            None if filter is None else to_sql(filter),
            normalize=self.metric != "cosine",
            progress=progress,
        )

    def _queries(self, vectors_QD: ArrayLike, normalize: bool) -> NDArray[np.float32]:
        return validation.vectors(
            vectors_QD, dim=self.dim, limit=validation.MAX_QUERIES, normalize=normalize, metric=self.metric
        )
