"""The searchable state: an immutable view for any number of readers, and the one writer that replaces it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .segment import MIN_ROWS, Buffer, Segment, merged, segment_rows

Rows = tuple[NDArray[np.int64], NDArray[np.float32]]  # row ids (N,), vectors (N, D)


@dataclass(frozen=True, eq=False)
class View:
    """What one search sees throughout. A position counts rows over all segments, dead ones included.

    `generation` grows whenever dead rows are about to leave the database: a reader that used the database and
    finds the same generation afterwards has missed nothing.
    """

    segments: tuple[Segment, ...]
    generation: int

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """The position of each segment's first row, and the end."""
        return np.cumsum([0, *map(len, self.segments)], dtype=np.int64)

    @cached_property
    def count(self) -> int:
        """The number of live rows."""
        return sum(segment.live_count for segment in self.segments)

    def row_ids(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row ids at these positions."""
        owners = np.searchsorted(self.offsets, positions, side="right") - 1
        row_ids = np.empty(len(positions), np.int64)
        for owner in np.unique(owners).tolist():
            chosen = owners == owner
            row_ids[chosen] = self.segments[owner].row_ids_N[positions[chosen] - self.offsets[owner]]
        return row_ids

    def vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors at these positions, copied."""
        owners = np.searchsorted(self.offsets, positions, side="right") - 1
        found = np.empty((len(positions), self.segments[0].vectors_ND.shape[1]), np.float32)
        for owner in np.unique(owners).tolist():
            chosen = owners == owner
            found[chosen] = self.segments[owner].vectors_ND[positions[chosen] - self.offsets[owner]]
        return found


class Memory:
    """Holds the current view. Readers take `view`, an atomic reference; the methods are the writer's."""

    def __init__(self, dim: int, expected: int = 0) -> None:
        self.view = View((), 0)
        self._dim = dim
        self._expected = expected  # rows to come at opening: full segments at once
        self._buffer: Buffer | None = None  # its segment, once it has rows, is the view's last
        self._spare: Buffer | None = None

    def reserve(self, count: int) -> None:
        """Finds the memory for so many rows now, so that running out of it cannot come after the commit."""
        missing = count - (self._buffer.room if self._buffer else 0)
        if missing > (self._spare.capacity if self._spare else 0):
            # Grows as the collection does: small ones stay small, large ones have few segments.
            usual = min(max(MIN_ROWS, self.view.count, self._expected), segment_rows(self._dim))
            self._spare = Buffer(max(missing, usual), self._dim)

    def apply(self, batches: Sequence[Rows], dead_K: NDArray[np.int64]) -> None:
        """Appends rows, marks the ascending `dead_K` as dead, and publishes both at once."""
        self.reserve(sum(len(row_ids) for row_ids, _ in batches))
        segments = list(self.view.segments)
        for row_ids, vectors in batches:
            start = 0
            while start < len(row_ids):
                start += self._fill(segments, row_ids[start:], vectors[start:])
        self.view = View(tuple(segment.without(dead_K) for segment in segments), self.view.generation)

    def _fill(
        self,
        segments: list[Segment],
        row_ids: NDArray[np.int64],
        vectors: NDArray[np.float32],
    ) -> int:
        """The number of rows that fitted into the current buffer."""
        if self._buffer is None or not self._buffer.room:
            self._buffer, self._spare = self._spare or Buffer(MIN_ROWS, self._dim), None
        buffer = self._buffer
        previous = segments.pop() if buffer.used else None
        taken = min(len(row_ids), buffer.room)
        buffer.append(row_ids[:taken], vectors[:taken])
        segments.append(buffer.segment(previous))
        return taken

    def compact(self) -> NDArray[np.int64]:
        """Rebuilds one wasteful segment without its dead rows, publishes, and returns the row ids it dropped.

        None dropped means that no segment is wasteful. A small left neighbour is merged in, so that churn on
        few ids does not leave a trail of small segments.
        """
        segments = list(self.view.segments)
        index = next((index for index, segment in enumerate(segments) if segment.wasteful), None)
        if index is None:
            return np.empty(0, np.int64)
        full = segment_rows(self._dim)
        start = index
        if index and segments[index - 1].live_count + segments[index].live_count <= full:
            start -= 1
        old = segments[start : index + 1]
        if index == len(segments) - 1:
            self._buffer = None
        kept = merged(old)
        segments[start : index + 1] = [kept] if len(kept) else []
        self.view = View(tuple(segments), self.view.generation + 1)
        return np.concatenate([segment.dead_rows for segment in old])
