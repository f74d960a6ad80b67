"""All pairs of items that are nearly the same: an exact join of a view with itself, tile by tile.

Legend: N rows that take part or of one side of a tile, C candidate pairs, D width.

As in scan.py, approximate float32 scores choose the candidates and float64 scores decide. At any time one
tile of scores and about twice the pairs asked for are in memory.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from . import scan
from .memory import View

Progress = Callable[[float], None]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]  # positions of both, and scores

SIDE = 1_024  # rows of a tile: its scores are 4 MiB and stay in the cache
SIDE_FLOATS = 2**22  # of a tile's side: very wide rows come in smaller tiles


class _Best:
    """The best pairs so far, and the score below which no other can be among them."""

    def __init__(self, threshold: float, limit: int) -> None:
        self.floor, self._limit = np.float32(threshold), limit
        self._pending: list[Pairs] = []
        self._count = 0

    def add(self, pairs: Pairs) -> None:
        """Takes pairs, of which those below the floor are ignored."""
        kept = pairs[2] >= self.floor
        self._pending.append((pairs[0][kept], pairs[1][kept], pairs[2][kept]))
        self._count += int(np.count_nonzero(kept))
        if self._count > 2 * self._limit:
            self.settle()

    def settle(self) -> Pairs:
        """The best pairs, best first, equally good ones by position; raises the floor if they are enough."""
        none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        first, second, score = (np.concatenate(column) for column in zip(none, *self._pending, strict=True))
        order = np.lexsort((second, first, -score))[: self._limit]
        best = first[order], second[order], score[order]
        if len(order) == self._limit:
            self.floor = max(self.floor, best[2][-1])
        self._pending, self._count = [best], len(order)
        return best


def near(
    view: View,
    allowed: NDArray[np.int64] | None,
    threshold: float,
    limit: int,
    *,
    normalize: bool = False,
    progress: Progress | None = None,
) -> Pairs:
    """The `limit` best pairs of live (and allowed) rows whose score is at least the threshold, best first.

    The score is the inner product, with `normalize` the cosine, which is 0 where a row has no direction.
    `progress` is told the share done; what it raises ends the work.
    """
    position_N = np.concatenate([np.empty(0, np.int64), *(_positions(p) for p in scan.parts(view, allowed))])
    best = _Best(threshold, limit)
    total = len(position_N)
    side = 1 if not total else max(16, min(SIDE, SIDE_FLOATS // view.segments[0].vectors_ND.shape[1]))
    for start in range(0, total, side):
        left = _Side(view, position_N[start : start + side], normalize)
        for other in range(start, total, side):
            right = left if other == start else _Side(view, position_N[other : other + side], normalize)
            _join(left, right, best)
        if progress is not None:
            rest = max(0, total - start - side)
            progress(1 - rest * rest / total**2)
    return best.settle()


def _positions(part: scan.Part) -> NDArray[np.int64]:
    rows = np.arange(len(part.segment)) if part.mask is None else np.flatnonzero(part.mask)
    return rows + part.offset


class _Side:
    """Some rows, in float64 and in float32; with `normalize` scaled to length 1, but for rows of zeros."""

    def __init__(self, view: View, position_N: NDArray[np.int64], normalize: bool) -> None:
        self.position_N = position_N
        self.exact_ND = view.vectors(position_N).astype(np.float64)
        self.max_norm = 1.0 if normalize else view.max_norm
        if normalize:
            norms = np.sqrt(np.einsum("nd,nd->n", self.exact_ND, self.exact_ND))
            self.exact_ND /= np.where(norms > 0, norms, 1)[:, None]
        self.rough_ND = self.exact_ND.astype(np.float32)


def _join(left: _Side, right: _Side, best: _Best) -> None:
    """Adds the pairs of a row of one side and a later row of the other."""
    # The margin of scan.py; 3 rather than 1 as rows that were scaled are rounded once more.
    margin = 1.1 * (left.rough_ND.shape[1] + 3) * 2.0**-24 * left.max_norm**2
    a_C, b_C = np.nonzero(left.rough_ND @ right.rough_ND.T >= best.floor - margin)
    if left is right:
        a_C, b_C = a_C[a_C < b_C], b_C[a_C < b_C]
    step = len(left.position_N)
    for start in range(0, len(a_C), step):
        a, b = a_C[start : start + step], b_C[start : start + step]
        scores = np.einsum("cd,cd->c", left.exact_ND[a], right.exact_ND[b]).astype(np.float32)
        best.add((left.position_N[a], right.position_N[b], scores))
