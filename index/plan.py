"""How a segment is searched for one request: all its rows, or its index, and how hard that tries.

The costs are counted in rows read in order by a scan for one query. They need only be right within a factor
of two: where two ways cost the same, either is fine. The factors were measured at widths 512 and 768.

A filter that few rows pass is answered by scanning these rows: an index finds few of them (of 1 % of 100,000
rows HNSW found 0.15 and IVF 0.09 of the right answers) unless it tries as much harder as they are rarer. So
the knob is divided by the share of rows that count, and where that makes the index dearer than the scan, the
scan wins.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InvalidInput
from .faiss_index import Kind
from .segment import Segment

SCAN_QUERIES = 4  # a scan of this many queries is a matrix product, which shares the reading of rows
SHARED = 0.25  # its cost per query and row
GATHERED = 2.0  # cost of a row that is not read in order
VISITED = 6.0  # cost of a neighbour that a graph looks at: a cache miss
EXHAUSTIVE = 0.5  # cost of a compressed row
CHUNK = 200.0  # fixed cost of asking an index
SPARE = 6  # candidates beyond k where the index orders them right but for rounding
MAX_EFFORT = 65_536
NARROW, WIDE = 10, 100  # values of k that the knob was tuned for


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard a search tries. `exact` reads every row that counts.

    `nprobe` (lists looked at in IVF segments) and `ef_search` (candidates held in HNSW segments) replace the
    values that the segments were tuned to; a filter still scales them.
    """

    exact: bool = False
    nprobe: int | None = None
    ef_search: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("nprobe", self.nprobe), ("ef_search", self.ef_search)):
            if value is not None and (type(value) is not int or not 0 < value <= MAX_EFFORT):
                raise InvalidInput(f"{name} is {value!r}, expected 1 to {MAX_EFFORT} or None")


USUAL = Effort()


@dataclass(frozen=True, slots=True)
class Probe:
    """A search of an index: the value of its knob, and how many candidates to ask for."""

    setting: int
    count: int


def probe(segment: Segment, counting: int, queries: int, k: int, effort: Effort) -> Probe | None:
    """How to ask the segment's index for `k` of the `counting` rows; None: scan them instead."""
    sealed = segment.sealed
    if sealed is None or sealed.index is None or effort.exact or counting <= k:
        return None
    kind = sealed.index.kind
    count = candidates(kind, sealed.parameters, k)
    base = _asked(kind, effort) or tuned(kind, sealed.parameters, k)
    setting = scaled(base, kind, counting / len(segment))
    if kind.links:
        setting = max(setting, count)
    if cost(kind, len(segment), setting) >= scan_cost(len(segment), counting, queries):
        return None
    return Probe(setting, min(count, counting))


def scaled(base: int, kind: Kind, share: float) -> int:
    """The knob's value where only a share of the rows counts: as much more as they are rarer."""
    return min(kind.top, math.ceil(base / share))


def candidates(kind: Kind, parameters: Mapping[str, int], k: int) -> int:
    """How many rows to ask for: the index's own order is exact only if it holds the vectors themselves.

    Otherwise never fewer than it was tuned with: the nearest alone may come late in that order.
    """
    return k + SPARE if kind.lossless else max(k, NARROW) * parameters.get("fetch", 4) + SPARE


def tuned(kind: Kind, parameters: Mapping[str, int], k: int) -> int:
    """The knob's value for this k: as tuned at two of them, in proportion beyond."""
    if kind.knob is None:
        return 1
    narrow = parameters.get(kind.knob, default_setting(kind))
    wide = parameters.get(f"{kind.knob}_wide", 2 * narrow)
    if k <= NARROW:
        return narrow
    share = min(1.0, (k - NARROW) / (WIDE - NARROW))
    return math.ceil((narrow + (wide - narrow) * share) * max(1.0, k / WIDE))


def default_setting(kind: Kind) -> int:
    """A middling value for an index that was not tuned."""
    return 128 if kind.links else max(1, kind.top // 16)


def _asked(kind: Kind, effort: Effort) -> int | None:
    return {"nprobe": effort.nprobe, "ef_search": effort.ef_search, None: None}[kind.knob]


def cost(kind: Kind, rows: int, setting: int) -> float:
    """What one query costs in an index of so many rows."""
    if kind.links:
        return CHUNK + VISITED * kind.links * setting / 2  # about half of the neighbours were seen before
    if kind.knob is None:
        return CHUNK + EXHAUSTIVE * rows
    return CHUNK + kind.top + rows * setting / kind.top


def scan_cost(rows: int, counting: int, queries: int) -> float:
    """What one query of several costs by scanning."""
    sparse = 2 * counting < rows
    shared = SHARED if queries >= SCAN_QUERIES else 1.0
    return counting * (shared + (GATHERED - 1 if sparse else 0.0) / queries)
