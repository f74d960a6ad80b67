"""What is done to ranked hits after the search: cut at a score, or made diverse.

Legend: C candidates of one query, D width.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from .memory import View
from .scan import Ranked

POOL_SHARE, POOL_REST = 4, 20  # candidates for k diverse hits: 4 k + 20


def pool(k: int) -> int:
    """How many of the best hits `diverse` chooses `k` from."""
    return POOL_SHARE * k + POOL_REST


def reaching(ranked: Ranked, threshold: float) -> Ranked:
    """Those whose score, a float32, is not below the threshold as a float32."""
    positions, scores, bounds = ranked
    kept = scores >= np.float32(threshold)
    before = np.concatenate([[0], np.cumsum(kept)])
    return positions[kept], scores[kept], before[bounds].tolist()


def diverse(view: View, ranked: Ranked, k: int, diversity: float) -> Ranked:
    """Of each query's candidates the `k` that maximal marginal relevance chooses, in its order.

    Carbonell and Goldstein, The Use of MMR, Diversity-Based Reranking, SIGIR 1998, with lambda = 1 -
    diversity; the likeness of two items is measured as that of item and query.
    """
    positions, scores, bounds = ranked
    if not len(positions):
        return ranked
    chosen = [
        start + choose(scores[start:end], view.vectors(positions[start:end]).astype(np.float64), k, diversity)
        for start, end in itertools.pairwise(bounds)
    ]
    order = np.concatenate([np.empty(0, np.int64), *chosen])
    return positions[order], scores[order], [0, *np.cumsum([len(part) for part in chosen]).tolist()]


def choose(
    scores_C: NDArray[np.float32], vectors_CD: NDArray[np.float64], k: int, diversity: float
) -> NDArray[np.int64]:
    """The places of the chosen candidates, at most `k`; of equally good ones the first."""
    relevance = (1 - diversity) * scores_C.astype(np.float64)
    nearest = np.full(len(scores_C), -np.inf)  # likeness to the most alike of those chosen
    value = relevance.copy()
    chosen: list[int] = []
    while len(chosen) < min(k, len(scores_C)):
        best = int(np.argmax(value))
        chosen.append(best)
        np.maximum(nearest, np.einsum("cd,d->c", vectors_CD, vectors_CD[best]), out=nearest)
        value = relevance - diversity * nearest
        value[chosen] = -np.inf
    return np.array(chosen, np.int64)
