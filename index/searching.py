"""What a search does between its checked input and its hits: filter, scan, cut or diversify, names.

Legend: Q queries, D width.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import ranking, rows, scan
from .database import Database
from .errors import CorruptCollection
from .filters import Sql
from .memory import Memory, View
from .results import Hits
from .scan import Ranked


def search(
    database: Database,
    memory: Memory,
    queries_QD: NDArray[np.float32],
    k: int,
    condition: Sql | None,
    *,
    threshold: float | None = None,
    diversity: float = 0.0,
) -> list[Hits]:
    """For each query the `k` best items that pass the condition and, if one is given, reach the threshold."""
    pool = ranking.pool(k) if diversity else k
    while True:
        view = memory.view
        allowed = matching(database, condition)
        ranked = scan.search(view, queries_QD, pool, allowed)
        if threshold is not None:
            ranked = ranking.reaching(ranked, threshold)
        if diversity:
            ranked = ranking.diverse(view, ranked, k, diversity)
        found = items(database, view.row_ids(ranked[0]))
        if memory.view.generation == view.generation:  # else dead rows of our view may have left the database
            return _hits(database, ranked, view, found)


def matching(database: Database, condition: Sql | None) -> NDArray[np.int64] | None:
    """The ascending row ids for which the condition holds; None for all."""
    if condition is None:
        return None
    with database.reader() as connection:
        return rows.matching(connection, *condition)


def items(database: Database, row_ids: NDArray[np.int64]) -> dict[int, tuple[str, str]]:
    """Id and metadata as JSON text by row id, of those rows that are still stored."""
    with database.reader() as connection:
        return rows.items(connection, np.unique(row_ids))


def _hits(database: Database, ranked: Ranked, view: View, found: dict[int, tuple[str, str]]) -> list[Hits]:
    positions, scores, bounds = ranked
    try:
        named: Sequence[tuple[str, str]] = [found[row_id] for row_id in view.row_ids(positions).tolist()]
    except KeyError as error:
        raise CorruptCollection(f"{database.path} has lost row {error}") from None
    return [
        Hits(
            [id for id, _ in named[start:end]],
            scores[start:end],
            rows.parsed([text for _, text in named[start:end]]),
        )
        for start, end in itertools.pairwise(bounds)
    ]
