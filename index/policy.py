"""Which index a sealed segment gets, and which segments are sealed or merged next.

The automatic choice, for segments of R rows:

- Below 50,000 rows no index: a scan answers in milliseconds, exactly, and there is nothing to build.
- Above that IVF with about 4 sqrt(R) lists: built in a few minutes per million rows on two cores, the same
  for the same rows, and it searches with a filter as well as without. Vectors are held as they are, or as
  float16, 8-bit or product codes, whichever is the first to fit the memory limit; the exact scores come from
  the file of rows, so coarser codes cost candidates, not precision.
- HNSW only where a latency target asks for it and the memory suffices: a query then costs a third, but a
  build several times as much, and every merge is a build.

Memory means what the indexes hold. The files of rows are mapped: the system keeps of them what it can.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InvalidInput
from .faiss_build import fewest_rows
from .faiss_index import EXACT, empty
from .memory import View
from .sealed import Sealed
from .segment import WASTE_SHARE, Segment

AUTO = "auto"
SETTING = "index"  # its key in the table of settings
INDEX_ROWS = 50_000  # fewer are scanned
SEAL_ROWS = 32_768  # unsealed rows that are worth a segment, once there are INDEX_ROWS in all
MAX_SEALED = 8  # smaller than LARGE_ROWS: more large ones cost less than to merge them
LARGE_ROWS = 200_000
GROWTH = 2  # a seal takes in neighbours of at most so many times its own rows
ROWS_PER_MS = {"ivf": 4e8, "hnsw": 1e8}  # dimensions compared in a millisecond by one thread
LINKS = 32


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user asked for: a FAISS factory string or "auto", and what "auto" should aim at."""

    index: str = AUTO
    memory_bytes: int | None = None
    latency_ms: float | None = None

    def checked(self, dim: int) -> "Policy":
        """This policy, or `InvalidInput` if it makes no sense for this width."""
        if self.index != AUTO:
            empty(self.index, dim)
        for name, value in (("memory_bytes", self.memory_bytes), ("latency_ms", self.latency_ms)):
            if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise InvalidInput(f"{name} is {value!r}, expected a positive number or None")
        return self

    def as_json(self) -> dict[str, Any]:
        """The policy as it is stored."""
        return asdict(self)


def from_json(value: Mapping[str, Any] | None) -> Policy:
    """The stored policy; the default where none is stored or a newer version stored what we do not know."""
    known = {key: item for key, item in (value or {}).items() if key in Policy.__slots__}
    return Policy(**known)


def factory(policy: Policy, rows: int, dim: int) -> str:
    """The factory string for a segment of so many rows; "Flat" where an index does not pay or cannot be."""
    if policy.index != AUTO:
        return policy.index if rows >= fewest_rows(policy.index, dim) else EXACT
    if rows < INDEX_ROWS:
        return EXACT
    lists = 2 ** round(math.log2(4 * math.sqrt(rows)))
    room = math.inf if policy.memory_bytes is None else policy.memory_bytes
    graph = rows * (4 * dim + 8 * LINKS + 16)
    ivf_ms = dim * (lists + 16 * rows / lists) / ROWS_PER_MS["ivf"]
    if policy.latency_ms is not None and ivf_ms > policy.latency_ms and graph <= room:
        return f"HNSW{LINKS}"
    for codes, size in _codes(dim):
        if rows * (size + 8) + 4 * lists * dim <= room:
            return f"IVF{lists},{codes}"
    parts = next((n for n in range(min(dim // 8, 64), 0, -1) if dim % n == 0), 1)
    return f"OPQ{parts},IVF{lists},PQ{parts}"


def _codes(dim: int) -> list[tuple[str, int]]:
    """How IVF may hold vectors, and the bytes of one."""
    return [("Flat", 4 * dim), ("SQfp16", 2 * dim), ("SQ8", dim)]


def due(policy: Policy, view: View) -> range | None:
    """The segments of the view that should become one now; None if none should."""
    segments = view.segments
    waiting = unsealed(segments)
    if view.count >= INDEX_ROWS and sum(segments[n].live_count for n in waiting) >= SEAL_ROWS:
        return around(segments, waiting)
    for n, segment in enumerate(segments):
        if segment.sealed is not None and (_wasteful(segment) or _outdated(policy, segment)):
            return around(segments, range(n, n + 1))
    small = [segment.sealed is not None and segment.live_count < LARGE_ROWS for segment in segments]
    if sum(small) > MAX_SEALED:
        return _smallest_pair(segments)
    return None


def loose(view: View, last_row: int) -> range | None:
    """A run of unsealed segments with the neighbours that `around` takes in; None if all are sealed.

    Segments that begin behind the last row do not count.
    """
    segments = [segment for segment in view.segments if segment.row_ids_N[0] <= last_row]
    waiting = unsealed(segments)
    return around(segments, waiting) if waiting else None


def everything(view: View) -> range | None:
    """All segments; None if they are one already, sealed and without dead rows."""
    match view.segments:
        case () | (Segment(live_N=None, sealed=Sealed()),):
            return None
    return range(len(view.segments))


def _wasteful(segment: Segment) -> bool:
    return len(segment) - segment.live_count > WASTE_SHARE * len(segment)


def _outdated(policy: Policy, segment: Segment) -> bool:
    """Whether another index was asked for. The automatic choice changes with size: it only adds an index."""
    if segment.sealed is None or not segment.live_count:
        return False
    wanted = factory(policy, segment.live_count, segment.vectors_ND.shape[1])
    if policy.index == AUTO:
        return segment.sealed.factory == EXACT != wanted
    return segment.sealed.factory != wanted


def unsealed(segments: Sequence[Segment]) -> range:
    """The longest run (by rows) of segments that are in no file."""
    runs, start = [range(0)], 0
    for n, segment in enumerate((*segments, None)):
        if segment is None or segment.sealed is not None:
            runs.append(range(start, n))
            start = n + 1
    return max(runs, key=lambda run: sum(segments[n].live_count for n in run))


def around(segments: Sequence[Segment], run: range) -> range:
    """The run and those neighbours that are not larger than twice what it has so far.

    So a row is rewritten about once each time the collection grows threefold, and segments stay few.
    """
    start, stop = run.start, run.stop
    rows = sum(segments[n].live_count for n in run)
    while True:
        if start and segments[start - 1].live_count <= GROWTH * rows:
            start -= 1
            rows += segments[start].live_count
        elif stop < len(segments) and segments[stop].sealed and segments[stop].live_count <= GROWTH * rows:
            rows += segments[stop].live_count
            stop += 1
        else:
            return range(start, stop)


def _smallest_pair(segments: Sequence[Segment]) -> range:
    pairs = range(len(segments) - 1)
    first = min(pairs, key=lambda n: segments[n].live_count + segments[n + 1].live_count)
    return around(segments, range(first, first + 2))
