"""What a search does between its checked input and its hits: filter, scan, cut or diversify, names.

Legend: Q queries, D width.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import approximate, duplicates, ranking, rows
from .database import Database
from .duplicates import Progress
from .errors import CorruptCollection
from .filters import Sql
from .memory import Memory, View
from .plan import USUAL, Effort
from .results import Hits, Pair
from .scan import Ranked

EXACT = Effort(exact=True)


def search(
    database: Database,
    memory: Memory,
    queries_QD: NDArray[np.float32],
    k: int,
    condition: Sql | None,
    *,
    threshold: float | None = None,
    effort: Effort = USUAL,
    diversity: float = 0.0,
) -> list[Hits]:
    """For each query the `k` best items that pass the condition and, if one is given, reach the threshold."""
    pool = ranking.pool(k) if diversity else k
    if threshold is not None:
        effort = EXACT
    while True:
        view = memory.view
        allowed = matching(database, condition)
        ranked = approximate.search(view, queries_QD, pool, allowed, effort)
        if threshold is not None:
            ranked = ranking.reaching(ranked, threshold)
        if diversity:
            ranked = ranking.diverse(view, ranked, k, diversity)
        found = items(database, view.row_ids(ranked[0]))
        if memory.view.generation == view.generation:  # else dead rows of our view may have left the database
            return _hits(database, ranked, view, found)


def near_duplicates(
    database: Database,
    memory: Memory,
    threshold: float,
    limit: int,
    condition: Sql | None,
    *,
    normalize: bool,
    progress: Progress | None,
) -> list[Pair]:
    """The best pairs of items that pass the condition, without those deleted while it looked."""
    view = memory.view
    allowed = matching(database, condition)
    found = duplicates.near(view, allowed, threshold, limit, normalize=normalize, progress=progress)
    rows_a, rows_b = view.row_ids(found[0]), view.row_ids(found[1])
    named = items(database, np.concatenate([rows_a, rows_b]))
    triples = zip(rows_a.tolist(), rows_b.tolist(), found[2].tolist(), strict=True)
    return [Pair(named[a][0], named[b][0], score) for a, b, score in triples if a in named and b in named]


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
