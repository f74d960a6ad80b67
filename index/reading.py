"""What a collection on this disk answers: items by id, in pages, by likeness; all but what changes it.

Legend: Q queries, D width.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import rows, searching, validation
from .database import Database
from .duplicates import Progress
from .errors import CorruptCollection
from .filters import Filter, to_sql
from .interface import AnyCollection
from .memory import Memory
from .plan import USUAL, Effort
from .results import Hits, Pair, Record
from .schema import Identity

PATIENCE = 10  # seconds between a commit and the moment when it is visible, at most


class Reading(AnyCollection):
    """The base of `Collection`: its questions. Any number of threads may ask them at once."""

    def __init__(self, path: Path, database: Database, identity: Identity, memory: Memory) -> None:
        super().__init__(path.name, path, identity)
        self._database, self._memory = database, memory

    def _get(self, names: list[str], vectors: bool) -> Mapping[str, Record]:
        def read() -> list[Record]:
            with self._database.reader() as connection:
                found = rows.by_ids(connection, names, self._identity.storage if vectors else None)
            return list(found.values())

        return {record.id: record for record in self._complete(read, vectors)}

    def _scan(self, limit: int, after: int, vectors: bool, filter: Filter | None) -> list[Record]:
        condition = None if filter is None else to_sql(filter)
        storage = self._identity.storage if vectors else None

        def read() -> list[Record]:
            with self._database.reader() as connection:
                return rows.page(connection, after, limit, storage, condition)

        return self._complete(read, vectors)

    def _complete(self, read: Callable[[], list[Record]], vectors: bool) -> list[Record]:
        """What was read, with the vectors that are not in the database but in files of segments."""
        until = time.monotonic() + PATIENCE
        while True:
            records = read()
            lacking = [record.version for record in records if vectors and record.vector is None]
            if not lacking:
                return records
            found = self._memory.view.found(np.array(sorted(lacking), np.int64))
            if len(found) == len(lacking):
                return [
                    replace(r, vector=found[r.version].astype(np.float32)) if r.version in found else r
                    for r in records
                ]
            # Committed, but not yet visible; or deleted since, and dropped: reading again tells.
            if time.monotonic() > until:
                raise CorruptCollection(f"{self._database.path}: {len(lacking)} rows have no vectors")
            time.sleep(0.001)

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
