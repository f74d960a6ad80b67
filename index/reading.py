"""What a collection on this disk answers: items by id, in pages, by likeness; all but what changes it.

Legend: Q queries, D width.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import rows, searching, validation
from .database import Database
from .duplicates import Progress
from .filters import Filter, to_sql
from .interface import AnyCollection
from .memory import Memory
from .plan import USUAL, Effort
from .results import Hits, Pair, Record
from .schema import Identity


class Reading(AnyCollection):
    """The base of `Collection`: its questions. Any number of threads may ask them at once."""

    def __init__(self, path: Path, database: Database, identity: Identity, memory: Memory) -> None:
        super().__init__(path.name, path, identity)
        self._database, self._memory = database, memory

    def _get(self, names: list[str], vectors: bool) -> Mapping[str, Record]:
        with self._database.reader() as connection:
            return rows.by_ids(connection, names, self._identity.storage if vectors else None)

    def _scan(self, limit: int, after: int, vectors: bool, filter: Filter | None) -> list[Record]:
        condition = None if filter is None else to_sql(filter)
        with self._database.reader() as connection:
            storage = self._identity.storage if vectors else None
            return rows.page(connection, after, limit, storage, condition)

    def count(self, filter: Filter | None = None) -> int:
        """The number of items, of those that pass the filter if one is given."""
        if filter is None:
            return self._memory.view.count
        condition = to_sql(filter)
        with self._database.reader() as connection:
            return rows.count(connection, condition)

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
        condition = None if filter is None else to_sql(filter)
        return searching.search(
            self._database,
            self._memory,
            queries_QD,
            k,
            condition,
            threshold=threshold,
            effort=effort,
            diversity=diversity,
        )

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
