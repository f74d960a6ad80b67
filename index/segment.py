"""Rows: immutable segments, in memory or mapped from files, and the growing buffer that publishes them.

Legend: N rows of a segment, D width, K row ids handed in, B rows asked for. Row ids ascend within a segment
and from one segment to the next, so a position in the concatenation of all segments orders rows as their ids
do.

Searching while FAISS adds crashes it, so nothing is ever added to what a search may see: a buffer writes only
behind the rows it has published, and every published segment is a new object over the same memory. Readers
need no lock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sealed import Sealed

Vectors = NDArray[np.floating[Any]]  # float32 or float16, as the collection stores them

SEGMENT_BYTES = 64 * 2**20  # bounds what a tombstone copies and what compaction holds twice
MIN_ROWS = 1_024  # of a fresh buffer
WASTE_SHARE = 0.2
WASTE_ROWS = 1_000  # below this, compacting costs more than it frees
BLOCK_ROWS = 4_096  # copied at a time


def segment_rows(dim: int) -> int:
    """The number of rows in a full segment."""
    return max(MIN_ROWS, SEGMENT_BYTES // (4 * dim))


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """N rows that never change. `live_N` is None when none is dead.

    `max_norm` bounds the length of every vector. `sealed` says which files hold the rows, if any do.
    """

    vectors_ND: Vectors  # of the collection's dtype
    row_ids_N: NDArray[np.int64]
    live_N: NDArray[np.bool_] | None
    live_count: int
    max_norm: float
    sealed: Sealed | None = None

    def __len__(self) -> int:
        return len(self.row_ids_N)

    @property
    def wasteful(self) -> bool:
        """Whether more than 20 % of the rows, and enough of them to matter, are dead."""
        dead = len(self) - self.live_count
        return dead >= WASTE_ROWS and dead > WASTE_SHARE * len(self)

    @property
    def dead_rows(self) -> NDArray[np.int64]:
        """The row ids of the dead rows."""
        return self.row_ids_N[:0] if self.live_N is None else self.row_ids_N[~self.live_N]

    def positions(self, row_ids_K: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of those of the ascending row ids that are in this segment."""
        if not len(self):
            return row_ids_K[:0]
        low, high = np.searchsorted(row_ids_K, (self.row_ids_N[0], self.row_ids_N[-1] + 1))
        within = row_ids_K[low:high]
        if self.row_ids_N[-1] - self.row_ids_N[0] == len(self) - 1:  # no gaps
            offsets: NDArray[np.int64] = within - self.row_ids_N[0]
            return offsets
        positions = np.searchsorted(self.row_ids_N, within)
        found: NDArray[np.int64] = positions[self.row_ids_N[positions] == within]
        return found

    def floats(self, rows_B: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors (B, D) of these rows; a view where a slice of float32 is asked for."""
        return self.vectors_ND[rows_B].astype(np.float32, copy=False)

    def live_blocks(self) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        """Row ids and vectors of the live rows, block by block."""
        for start in range(0, len(self), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            if self.live_N is None:
                yield self.row_ids_N[rows], self.vectors_ND[rows]
            elif (live := self.live_N[rows]).any():
                yield self.row_ids_N[rows][live], self.vectors_ND[rows][live]

    def without(self, row_ids_K: NDArray[np.int64]) -> "Segment":
        """This segment with the given rows dead: the same vectors, a new mask."""
        positions = self.positions(row_ids_K)
        if not len(positions):
            return self
        live = np.ones(len(self), np.bool_) if self.live_N is None else self.live_N.copy()
        live[positions] = False
        return replace(self, live_N=live, live_count=int(np.count_nonzero(live)))

    def mask(self, allowed_K: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
        """Which rows a search may return: live ones, and only those allowed if given. None means all."""
        if allowed_K is None:
            return self.live_N
        mask = np.zeros(len(self), np.bool_)
        mask[self.positions(allowed_K)] = True
        return mask if self.live_N is None else mask & self.live_N


def merged(segments: Sequence[Segment]) -> Segment:
    """One segment of the live rows of all, in new memory of exactly their size."""
    masks = [np.ones(len(s), np.bool_) if s.live_N is None else s.live_N for s in segments]
    pairs = list(zip(segments, masks, strict=True))
    row_ids = np.concatenate([s.row_ids_N[mask] for s, mask in pairs])
    first = segments[0].vectors_ND
    vectors = np.empty((len(row_ids), first.shape[1]), first.dtype)
    np.concatenate([s.vectors_ND[mask] for s, mask in pairs], out=vectors)
    return Segment(vectors, row_ids, None, len(row_ids), max(s.max_norm for s in segments))


def largest_norm(vectors_ND: Vectors) -> float:
    """The length of the longest vector, 0 of none."""
    vectors = vectors_ND.astype(np.float32, copy=False)
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64).max(initial=0)))


class Buffer:
    """Preallocated rows filled by one writer; what it has published is never written again."""

    def __init__(self, capacity: int, dim: int, dtype: np.dtype[np.floating[Any]]) -> None:
        self._vectors = np.empty((capacity, dim), dtype)
        self._row_ids = np.empty(capacity, np.int64)
        self._max_norm = 0.0
        self.capacity, self.used = capacity, 0

    @property
    def room(self) -> int:
        return self.capacity - self.used

    def append(self, row_ids_N: NDArray[np.int64], vectors_ND: Vectors) -> None:
        """Writes rows behind the published ones."""
        rows = slice(self.used, self.used + len(row_ids_N))
        self._vectors[rows] = vectors_ND
        self._row_ids[rows] = row_ids_N
        self._max_norm = max(self._max_norm, largest_norm(self._vectors[rows]))
        self.used = rows.stop

    def segment(self, previous: Segment | None) -> Segment:
        """All rows written so far; `previous`, this buffer's last segment, tells which are dead."""
        used = self.used
        live = None
        if previous is not None and previous.live_N is not None:
            live = np.concatenate([previous.live_N, np.ones(used - len(previous), np.bool_)])
        count = used if live is None else int(np.count_nonzero(live))
        return Segment(self._vectors[:used], self._row_ids[:used], live, count, self._max_norm)
