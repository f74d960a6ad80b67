"""Exact search: the same answer for the same question, however the rows lie in memory.

Legend: Q queries, D width, N rows of a segment, B rows of a block, K best per query, C candidates of all
queries.

Approximate float32 scores choose candidates, float64 scores of the candidates decide. A float32 inner product
of unit vectors is off by at most D * 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 2002, eq.
3.5), so every row whose true score is among the best K has an approximate one within twice that of the K-th
best. One to three queries are scanned by FAISS; more are a matrix product, which was 2 to 7 times as fast at
8 to 64 queries.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from .memory import View
from .segment import Segment

Masks = list[NDArray[np.bool_] | None]
Ranked = tuple[NDArray[np.int64], NDArray[np.float32], list[int]]

# Any: the type stubs of faiss give the C++ signatures of these functions, not Python's.
faiss: Any = require("faiss", "cpu")
FAISS_QUERIES = 3
GROUP_QUERIES = 256  # per matrix product
TILE = 2**20  # scores per matrix product: 4 MiB stay in the cache
SLACK = 16  # rows FAISS returns beyond K, to see whether it cut through near-equal scores
MAX_TIES = 4_096  # candidates kept per query: bounds the work when thousands of vectors are nearly the same


def search(view: View, queries_QD: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None) -> Ranked:
    """The best live (and allowed) rows of all queries: positions, cosines, and Q + 1 bounds between them.

    At most `k` per query, best first, equal scores in the order of row ids.
    """
    masks = [segment.mask(allowed) for segment in view.segments]
    positions, scores, bounds = [np.empty(0, np.int64)], [np.empty(0, np.float32)], [0]
    for start in range(0, len(queries_QD), GROUP_QUERIES):
        group = _search_group(view, masks, queries_QD[start : start + GROUP_QUERIES], k)
        positions.append(group[0])
        scores.append(group[1])
        bounds += [bounds[-1] + bound for bound in group[2][1:]]
    return np.concatenate(positions), np.concatenate(scores), bounds


def _search_group(view: View, masks: Masks, queries_QD: NDArray[np.float32], k: int) -> Ranked:
    best = _scan_faiss(view, masks, queries_QD, k) if len(queries_QD) <= FAISS_QUERIES else None
    if best is None:
        best = _scan_blas(view, masks, queries_QD, k)
    scores_C = _exact_scores(view, queries_QD, best.query_C, best.position_C)
    order = np.lexsort((best.position_C, -scores_C, best.query_C))
    query_C = best.query_C[order]
    bounds = np.searchsorted(query_C, np.arange(len(queries_QD) + 1))
    first = np.arange(len(order)) - bounds[query_C] < k
    kept = np.minimum(np.diff(bounds), k)
    return best.position_C[order][first], scores_C[order][first], [0, *np.cumsum(kept).tolist()]


class _Best:
    """The candidates so far, and per query the score below which no row can be among the best `k`."""

    def __init__(self, queries: int, dim: int, k: int) -> None:
        self.k, self.margin = k, 2.1 * (dim + 1) * 2.0**-24  # norms are 1 within 1e-3, and this rounds too
        self.floor_Q = np.full(queries, -2, np.float32)  # below any cosine, above the -inf of masked rows
        self.query_C, self.position_C = np.empty(0, np.int64), np.empty(0, np.int64)
        self.score_C = np.empty(0, np.float32)
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._pending_count = 0

    def offer(self, scores_QB: NDArray[np.float32], positions_B: NDArray[np.int64]) -> None:
        """Takes the scores of a block of rows."""
        width = scores_QB.shape[1]
        if self.floor_Q.max() == -2 and width > self.k:
            kth_Q = np.partition(scores_QB, width - self.k, axis=1)[:, width - self.k]
            self.floor_Q = np.maximum(self.floor_Q, kth_Q - self.margin)
        flat = np.flatnonzero(scores_QB >= self.floor_Q[:, None])
        self.add(flat // width, positions_B[flat % width], scores_QB.ravel()[flat])

    def add(
        self, query_C: NDArray[np.int64], position_C: NDArray[np.int64], score_C: NDArray[np.float32]
    ) -> None:
        """Takes candidates."""
        self._pending.append((query_C, position_C, score_C))
        self._pending_count += len(query_C)
        if self._pending_count > max(4_096, self.k * len(self.floor_Q)):
            self.settle()

    def settle(self) -> None:
        """Raises the floors and drops what fell below them."""
        parts = [(self.query_C, self.position_C, self.score_C), *self._pending]
        query, position, score = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((position, -score, query))
        query, position, score = query[order], position[order], score[order]
        bounds = np.searchsorted(query, np.arange(len(self.floor_Q) + 1))
        full = np.flatnonzero(np.diff(bounds) >= self.k)
        kth = score[bounds[full] + self.k - 1]
        self.floor_Q[full] = np.maximum(self.floor_Q[full], kth - self.margin)
        rank = np.arange(len(query)) - bounds[query]
        keep = (score >= self.floor_Q[query]) & (rank < max(4 * self.k, MAX_TIES))
        self.query_C, self.position_C, self.score_C = query[keep], position[keep], score[keep]
        self._pending, self._pending_count = [], 0


def _scan_blas(view: View, masks: Masks, queries_QD: NDArray[np.float32], k: int) -> _Best:
    """Candidates by one matrix product per block of rows."""
    best = _Best(len(queries_QD), queries_QD.shape[1], k)
    full = max(1_024, TILE // len(queries_QD))
    size = min(full, max(1_024, 4 * k))  # a small first block gives a first floor cheaply
    for segment, mask, offset in zip(view.segments, masks, view.offsets.tolist(), strict=False):
        for rows, masked in _blocks(segment, mask, size, full):
            scores_QB = queries_QD @ segment.vectors_ND[rows].T
            if masked is not None:
                scores_QB[:, masked] = -np.inf
            positions = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
            best.offer(scores_QB, positions + offset)
        size = full
    best.settle()
    return best


def _blocks(
    segment: Segment, mask: NDArray[np.bool_] | None, first: int, full: int
) -> Iterator[tuple[slice | NDArray[np.int64], NDArray[np.int64] | None]]:
    """Blocks of rows: slices with columns to ignore, or, where less than half of the rows count, those."""
    chosen = None if mask is None else np.flatnonzero(mask)
    sparse = chosen is not None and 2 * len(chosen) < len(segment)
    total = len(chosen) if chosen is not None and sparse else len(segment)
    start, size = 0, first
    while start < total:
        stop = min(start + size, total)
        if chosen is not None and sparse:
            yield chosen[start:stop], None
        else:
            yield slice(start, stop), None if mask is None else np.flatnonzero(~mask[start:stop])
        start, size = stop, full


def _scan_faiss(view: View, masks: Masks, queries_QD: NDArray[np.float32], k: int) -> _Best | None:
    """Candidates by FAISS; None when it may have cut off rows whose scores are too near to call."""
    best = _Best(len(queries_QD), queries_QD.shape[1], k)
    last_scores = []
    for segment, mask, offset in zip(view.segments, masks, view.offsets.tolist(), strict=False):
        available = len(segment) if mask is None else int(np.count_nonzero(mask))
        count = min(k + SLACK, available)
        if not count:
            continue
        scores, positions = _faiss_top(segment.vectors_ND, mask, queries_QD, count)
        best.add(np.repeat(np.arange(len(queries_QD)), count), positions.ravel() + offset, scores.ravel())
        if count < available:
            last_scores.append(scores[:, -1])
    best.settle()
    return None if any((last >= best.floor_Q).any() for last in last_scores) else best


def _faiss_top(
    vectors_ND: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
    queries_QD: NDArray[np.float32],
    count: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores and positions (Q, count) by FAISS's exhaustive scan over memory that it does not own."""
    scores = np.empty((len(queries_QD), count), np.float32)
    labels = np.empty((len(queries_QD), count), np.int64)
    bits = None if mask is None else np.packbits(mask, bitorder="little")
    selector = None if bits is None else faiss.IDSelectorBitmap(bits)  # reads `bits`, which must outlive it
    (rows, dim), queries = vectors_ND.shape, len(queries_QD)
    pointers = [faiss.swig_ptr(array) for array in (queries_QD, vectors_ND, scores, labels)]
    faiss.knn_inner_product(*pointers[:2], dim, queries, rows, count, *pointers[2:], selector)
    return scores, labels


def _exact_scores(
    view: View, queries_QD: NDArray[np.float32], query_C: NDArray[np.int64], position_C: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Inner products in float64, rounded once to float32."""
    scores = np.empty(len(query_C), np.float32)
    queries = queries_QD.astype(np.float64)
    for start in range(0, len(query_C), 2_048):
        part = slice(start, start + 2_048)
        vectors = view.vectors(position_C[part]).astype(np.float64)
        scores[part] = np.einsum("cd,cd->c", vectors, queries[query_C[part]])
    return scores
