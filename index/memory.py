"""The searchable state: an immutable view for any number of readers, and the one writer that replaces it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .segment import MIN_ROWS, Buffer, Segment, Vectors, merged, segment_rows

Rows = tuple[NDArray[np.int64], Vectors]  # row ids (N,), vectors (N, D)
FLOAT32: np.dtype[np.floating[Any]] = np.dtype(np.float32)


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

    @cached_property
    def max_norm(self) -> float:
        """A bound of the length of every vector."""
        return max((segment.max_norm for segment in self.segments), default=0.0)

    def found(self, row_ids_K: NDArray[np.int64]) -> dict[int, Vectors]:
        """The vectors, copied, of those of the ascending row ids that are here."""
        vectors: dict[int, Vectors] = {}
        for segment in self.segments:
            positions = segment.positions(row_ids_K)
            row_ids = segment.row_ids_N[positions].tolist()
            vectors.update(zip(row_ids, segment.vectors_ND[positions], strict=True))
        return vectors

    def row_ids(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row ids at these positions."""
        owners = np.searchsorted(self.offsets, positions, side="right") - 1
        row_ids = np.empty(len(positions), np.int64)
        for owner in np.unique(owners).tolist():
            chosen = owners == owner
            row_ids[chosen] = self.segments[owner].row_ids_N[positions[chosen] - self.offsets[owner]]
        return row_ids

    def vectors(self, positions: NDArray[np.int64]) -> Vectors:
        """The vectors (P, D) at these P positions, copied."""
        owners = np.searchsorted(self.offsets, positions, side="right") - 1
        first = self.segments[0].vectors_ND
        found = np.empty((len(positions), first.shape[1]), first.dtype)
        for owner in np.unique(owners).tolist():
            chosen = owners == owner
            found[chosen] = self.segments[owner].vectors_ND[positions[chosen] - self.offsets[owner]]
        return found


class Memory:
    """Holds the current view. Readers take `view`, an atomic reference; the methods are the writer's."""

    def __init__(self, dim: int, expected: int = 0, dtype: np.dtype[np.floating[Any]] = FLOAT32) -> None:
        self.view = View((), 0)
        self._dim, self._dtype = dim, dtype
        self._expected = expected  # rows to come at opening: full segments at once
        self._buffer: Buffer | None = None  # its segment, once it has rows, is the view's last
        self._spare: Buffer | None = None
        self._frozen = 0  # unsealed segments of rows up to this one keep as they are, but for their masks

    def reserve(self, count: int) -> None:
        """Finds the memory for so many rows now, so that running out of it cannot come after the commit."""
        missing = count - (self._buffer.room if self._buffer else 0)
        if missing > (self._spare.capacity if self._spare else 0):
            # Grows as the collection does: small ones stay small, large ones have few segments.
            usual = min(max(MIN_ROWS, self.view.count, self._expected), segment_rows(self._dim))
            self._spare = Buffer(max(missing, usual), self._dim, self._dtype)

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
        vectors: Vectors,
    ) -> int:
        """The number of rows that fitted into the current buffer."""
        if self._buffer is None or not self._buffer.room:
            self._buffer, self._spare = self._spare or Buffer(MIN_ROWS, self._dim, self._dtype), None
        buffer = self._buffer
        previous = segments.pop() if buffer.used else None
        taken = min(len(row_ids), buffer.room)
        buffer.append(row_ids[:taken], vectors[:taken])
        segments.append(buffer.segment(previous))
        return taken

    def compact(self) -> NDArray[np.int64]:
        """Rebuilds one wasteful unsealed segment without its dead rows, publishes, returns the rows dropped.

        None dropped means that no segment is wasteful. A small left neighbour is merged in, so that churn on
        few ids does not leave a trail of small segments.
        """
        segments = list(self.view.segments)
        loose = [segment.sealed is None and self._is_open(segment) for segment in segments]
        wasteful = (n for n, segment in enumerate(segments) if loose[n] and segment.wasteful)
        index = next(wasteful, None)
        if index is None:
            return np.empty(0, np.int64)
        full = segment_rows(self._dim)
        start = index
        both = segments[index - 1].live_count + segments[index].live_count
        if index and loose[index - 1] and both <= full:
            start -= 1
        old = segments[start : index + 1]
        if index == len(segments) - 1:
            self._buffer = None
        kept = merged(old)
        segments[start : index + 1] = [kept] if len(kept) else []
        self.view = View(tuple(segments), self.view.generation + 1)
        return np.concatenate([segment.dead_rows for segment in old])

    def _is_open(self, segment: Segment) -> bool:
        return len(segment) > 0 and int(segment.row_ids_N[0]) > self._frozen

    def freeze(self) -> View:
        """The view, whose segments stay as they are, but for their masks, until `thaw` or `exchange`."""
        self._buffer = None  # rows to come go to a new segment
        if self.view.segments:
            self._frozen = int(self.view.segments[-1].row_ids_N[-1])
        return self.view

    def thaw(self) -> None:
        """Ends what `freeze` began."""
        self._frozen = 0

    def append(self, segment: Segment) -> None:
        """Publishes a segment of later rows than any so far."""
        self._buffer = None
        self.view = View((*self.view.segments, segment), self.view.generation)

    def insert(self, segment: Segment, dead_K: NDArray[np.int64]) -> None:
        """Publishes a segment whose row ids were set aside earlier, and the ascending `dead_K` as dead."""
        first = int(segment.row_ids_N[0])
        before = [s for s in self.view.segments if int(s.row_ids_N[0]) < first]
        segments = (*before, segment, *self.view.segments[len(before) :])
        self.view = View(tuple(s.without(dead_K) for s in segments), self.view.generation)

    def exchange(self, first_row: int, last_row: int, new: Segment | None) -> None:
        """Publishes `new` in place of the segments within these row ids, with what died meanwhile dead."""
        segments = self.view.segments
        inside = [
            len(s) > 0 and first_row <= s.row_ids_N[0] and s.row_ids_N[-1] <= last_row for s in segments
        ]
        start = inside.index(True)
        old = segments[start : start + sum(inside)]
        kept = [] if new is None else [new.without(np.concatenate([segment.dead_rows for segment in old]))]
        rest = segments[start + len(old) :]
        self.view = View((*segments[:start], *kept, *rest), self.view.generation + 1)

    def retune(self, segment_id: int, parameters: Mapping[str, int]) -> None:
        """Publishes other search parameters for one sealed segment."""

        def tuned(segment: Segment) -> Segment:
            if segment.sealed is None or segment.sealed.segment_id != segment_id:
                return segment
            return replace(segment, sealed=replace(segment.sealed, parameters=parameters))

        self.view = View(tuple(map(tuned, self.view.segments)), self.view.generation)
