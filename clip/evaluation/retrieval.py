"""Recall of retrieval from unit vectors, with any number of right answers per query.

Legend: Q = queries, N = gallery items, D = width, P = pairs of a query and one of its right answers.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...errors import InvalidInput
from .ranks import MAX_BLOCK, Floats, pair_ranks


def recall_at_k(
    queries_QD: Floats,
    gallery_ND: Floats,
    positives: Sequence[Sequence[int]],
    ks: Sequence[int] = (1, 5, 10),
) -> dict[int, float]:
    """For each k, the share of queries, in [0, 1], with at least one right answer among their first k.

    `positives[q]` are the gallery rows that answer query q. This is the recall@k of the CLIP papers and of
    clip_benchmark; ties count against the model, so that equal vectors everywhere score 0 and not 1.
    """
    _check(queries_QD, gallery_ND, positives)
    pairs_P2 = np.array([(q, row) for q, rows in enumerate(positives) for row in rows], np.int64)
    best_Q, _ = pair_ranks(queries_QD, gallery_ND, pairs_P2, both=False)
    return {k: float((best_Q < k).mean()) for k in _checked(ks, len(gallery_ND))}


def found_at_k(
    queries_QD: Floats, gallery_ND: Floats, positives: Sequence[Sequence[int]], k: int
) -> npt.NDArray[np.float64]:
    """For each query the share, in [0, 1], of its right answers that stand among its first k; shape (Q,)."""
    _checked([k], len(gallery_ND))
    ranks = positive_ranks(queries_QD, gallery_ND, positives)
    return np.array([(ranks_P < k).mean() for ranks_P in ranks])


def positive_ranks(
    queries_QD: Floats, gallery_ND: Floats, positives: Sequence[Sequence[int]]
) -> list[npt.NDArray[np.int64]]:
    """For each query the ranks of its right answers: how many other items score at least as much."""
    _check(queries_QD, gallery_ND, positives)
    ranks: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(queries_QD), block := max(1, MAX_BLOCK // len(gallery_ND))):
        scores_QN = queries_QD[start : start + block] @ gallery_ND.T
        for scores_N, rows in zip(scores_QN, positives[start : start + block], strict=True):
            ascending_N = np.sort(scores_N)
            lower_P = np.searchsorted(ascending_N, scores_N[np.asarray(rows)], side="left")
            ranks.append(len(ascending_N) - lower_P - 1)  # the answer is not before itself
    return ranks


def _check(queries_QD: Floats, gallery_ND: Floats, positives: Sequence[Sequence[int]]) -> None:
    if queries_QD.ndim != 2 or gallery_ND.ndim != 2 or queries_QD.shape[1] != gallery_ND.shape[1]:
        raise InvalidInput(
            f"expected queries (Q, D) and a gallery (N, D), got {queries_QD.shape} and {gallery_ND.shape}"
        )
    if not len(queries_QD) or len(positives) != len(queries_QD):
        raise InvalidInput(f"got {len(positives)} lists of right answers for {len(queries_QD)} queries")
    # NaN compares as smaller than everything and would count as a perfect rank.
    if not (np.isfinite(queries_QD).all() and np.isfinite(gallery_ND).all()):
        raise InvalidInput("expected finite vectors, got NaN or infinity")
    for q, rows in enumerate(positives):
        if not len(rows) or min(rows) < 0 or max(rows) >= len(gallery_ND):
            raise InvalidInput(
                f"query {q}: expected right answers from 0 to {len(gallery_ND) - 1}, got {rows}"
            )


def _checked(ks: Sequence[int], gallery: int) -> Sequence[int]:
    for k in ks:
        if not 1 <= k <= gallery:
            raise InvalidInput(f"k is {k}, expected 1 to the gallery's {gallery} items")
    return ks
