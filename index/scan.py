"""Exact search: the same answer for the same question, however the rows lie in memory.

Legend: Q queries, D width, N rows of a segment, B rows of a block, K best per query, C candidates of all
queries.

Approximate float32 scores choose candidates, float64 scores of the candidates decide. A float32 inner product
is off by at most D * 2^-24 times both lengths (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
eq. 3.5), so every row whose true score is among the best K has an approximate one within twice that of the
K-th best. One to three queries are scanned by FAISS; more are a matrix product, which was 2 to 7 times as
fast at 8 to 64 queries.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .faiss_index import faiss
from .memory import View
from .segment import Segment

Ranked = tuple[NDArray[np.int64], NDArray[np.float32], list[int]]
Candidates = tuple[NDArray[np.int64], NDArray[np.int64]]  # query and position of each

FAISS_QUERIES = 3
GROUP_QUERIES = 256  # per matrix product
TILE = 2**20  # scores per matrix product: 4 MiB stay in the cache
COPY_BYTES = 16 * 2**20  # rows copied at a time, where they must be
SLACK = 16  # rows FAISS returns beyond K, to see whether it cut through near-equal scores
MAX_TIES = 4_096  # candidates kept per query: bounds the work when thousands of vectors are nearly the same
LOWEST = np.finfo(np.float32).min  # below any score, above the -inf of masked rows


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A segment of a view: which of its rows count (None: all), and the position of its first."""

    segment: Segment
    mask: NDArray[np.bool_] | None
    offset: int

    @property
    def count(self) -> int:
        """The number of rows that count."""
        return len(self.segment) if self.mask is None else int(np.count_nonzero(self.mask))

    @property
    def bits(self) -> NDArray[np.uint8] | None:
        """The mask as FAISS's selectors read it."""
        return None if self.mask is None else np.packbits(self.mask, bitorder="little")


def parts(view: View, allowed: NDArray[np.int64] | None) -> list[Part]:
    """All segments of the view; live rows count, and only the allowed ones if given."""
    offsets = view.offsets.tolist()
    return [
        Part(segment, segment.mask(allowed), offset)
        for segment, offset in zip(view.segments, offsets, strict=False)
    ]


def search(view: View, queries_QD: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None) -> Ranked:
    """The best live (and allowed) rows of all queries: positions, scores, and Q + 1 bounds between them.

    At most `k` per query, best first, equal scores in the order of row ids.
    """
    scanned = parts(view, allowed)
    groups = []
    for start in range(0, len(queries_QD), GROUP_QUERIES):
        queries = queries_QD[start : start + GROUP_QUERIES]
        groups.append(ranked(view, queries, candidates(scanned, queries, k), k))
    return joined(groups)


def joined(groups: Sequence[Ranked]) -> Ranked:
    """The results of groups of queries, one after the other."""
    bounds = [0]
    for group in groups:
        bounds += [bounds[-1] + bound for bound in group[2][1:]]
    positions = [np.empty(0, np.int64), *(group[0] for group in groups)]
    scores = [np.empty(0, np.float32), *(group[1] for group in groups)]
    return np.concatenate(positions), np.concatenate(scores), bounds


def candidates(scanned: Sequence[Part], queries_QD: NDArray[np.float32], k: int) -> Candidates:
    """For each query at least the `k` best rows of these parts, unordered."""
    best = _scan_faiss(scanned, queries_QD, k) if len(queries_QD) <= FAISS_QUERIES else None
    if best is None:
        best = _scan_blas(scanned, queries_QD, k)
    return best.query_C, best.position_C


def ranked(view: View, queries_QD: NDArray[np.float32], found: Candidates, k: int) -> Ranked:
    """The best `k` candidates of each query by their exact scores."""
    query_C, position_C = found
    scores_C = _exact_scores(view, queries_QD, query_C, position_C)
    order = np.lexsort((position_C, -scores_C, query_C))
    query_C = query_C[order]
    bounds = np.searchsorted(query_C, np.arange(len(queries_QD) + 1))
    first = np.arange(len(order)) - bounds[query_C] < k
    kept = np.minimum(np.diff(bounds), k)
    return position_C[order][first], scores_C[order][first], [0, *np.cumsum(kept).tolist()]


class _Best:
    """The candidates so far, and per query the score below which no row can be among the best `k`."""

    def __init__(self, queries_QD: NDArray[np.float32], max_norm: float, k: int) -> None:
        queries, dim = queries_QD.shape
        norm_Q = np.sqrt(np.einsum("qd,qd->q", queries_QD, queries_QD, dtype=np.float64))
        self.k = k
        self.margin_Q = 2.1 * (dim + 1) * 2.0**-24 * max_norm * norm_Q  # 2.1: this rounds too
        self.floor_Q = np.full(queries, LOWEST, np.float32)
        self.query_C, self.position_C = np.empty(0, np.int64), np.empty(0, np.int64)
        self.score_C = np.empty(0, np.float32)
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._pending_count = 0

    def offer(self, scores_QB: NDArray[np.float32], positions_B: NDArray[np.int64]) -> None:
        """Takes the scores of a block of rows."""
        width = scores_QB.shape[1]
        if self.floor_Q.max() == LOWEST and width > self.k:
            kth_Q = np.partition(scores_QB, width - self.k, axis=1)[:, width - self.k]
            self._raise(slice(None), kth_Q)
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

    def _raise(self, queries: slice | NDArray[np.int64], kth: NDArray[np.float32]) -> None:
        floors = np.maximum(kth - self.margin_Q[queries], LOWEST).astype(np.float32)
        self.floor_Q[queries] = np.maximum(self.floor_Q[queries], floors)

    def settle(self) -> None:
        """Raises the floors and drops what fell below them."""
        parts = [(self.query_C, self.position_C, self.score_C), *self._pending]
        query, position, score = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((position, -score, query))
        query, position, score = query[order], position[order], score[order]
        bounds = np.searchsorted(query, np.arange(len(self.floor_Q) + 1))
        full = np.flatnonzero(np.diff(bounds) >= self.k)
        self._raise(full, score[bounds[full] + self.k - 1])
        rank = np.arange(len(query)) - bounds[query]
        keep = (score >= self.floor_Q[query]) & (rank < max(4 * self.k, MAX_TIES))
        self.query_C, self.position_C, self.score_C = query[keep], position[keep], score[keep]
        self._pending, self._pending_count = [], 0


def _max_norm(scanned: Sequence[Part]) -> float:
    return max((part.segment.max_norm for part in scanned), default=0.0)


def _scan_blas(scanned: Sequence[Part], queries_QD: NDArray[np.float32], k: int) -> _Best:
    """Candidates by one matrix product per block of rows."""
    best = _Best(queries_QD, _max_norm(scanned), k)
    full = max(1_024, TILE // len(queries_QD))
    size = min(full, max(1_024, 4 * k))  # a small first block gives a first floor cheaply
    for part in scanned:
        for rows, masked in blocks(part.segment, part.mask, size, full):
            scores_QB = queries_QD @ part.segment.floats(rows).T
            if masked is not None:
                scores_QB[:, masked] = -np.inf
            positions = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
            best.offer(scores_QB, positions + part.offset)
        size = full
    best.settle()
    return best


def blocks(
    segment: Segment, mask: NDArray[np.bool_] | None, first: int, full: int
) -> Iterator[tuple[slice | NDArray[np.int64], NDArray[np.int64] | None]]:
    """Blocks of rows: slices with columns to ignore, or, where less than half of the rows count, those."""
    chosen = None if mask is None else np.flatnonzero(mask)
    sparse = chosen is not None and 2 * len(chosen) < len(segment)
    total = len(chosen) if chosen is not None and sparse else len(segment)
    if sparse or segment.vectors_ND.dtype != np.float32:
        full = min(full, max(1_024, COPY_BYTES // (4 * segment.vectors_ND.shape[1])))
    start, size = 0, min(first, full)
    while start < total:
        stop = min(start + size, total)
        if chosen is not None and sparse:
            yield chosen[start:stop], None
        else:
            yield slice(start, stop), None if mask is None else np.flatnonzero(~mask[start:stop])
        start, size = stop, full


def _scan_faiss(scanned: Sequence[Part], queries_QD: NDArray[np.float32], k: int) -> _Best | None:
    """Candidates by FAISS; None when it may have cut off rows whose scores are too near to call."""
    if any(part.segment.vectors_ND.dtype != np.float32 for part in scanned):
        return None
    best = _Best(queries_QD, _max_norm(scanned), k)
    last_scores = []
    for part in scanned:
        available = part.count
        count = min(k + SLACK, available)
        if not count:
            continue
        scores, positions = _faiss_top(part.segment.vectors_ND, part.mask, queries_QD, count)
        found = np.repeat(np.arange(len(queries_QD)), count), positions.ravel() + part.offset
        best.add(*found, scores.ravel())
        if count < available:
            last_scores.append(scores[:, -1])
    best.settle()
    return None if any((last >= best.floor_Q).any() for last in last_scores) else best


def _faiss_top(
    vectors_ND: NDArray[np.floating[Any]],
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
