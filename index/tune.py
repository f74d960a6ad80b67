"""Finding the search parameters of an index: the cheapest that reach a recall, and the curve of both.

Legend: Q queries, D width, C candidates.

Recall is the share of the k nearest rows that the index proposes. The queries are rows of the segment, whose
finding themselves does not count, or real queries, which is better: texts lie elsewhere than images.
What is chosen does not depend on the clock: costs are those of plan.py; times are only shown.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput
from . import plan, scan
from .faiss_index import FaissIndex, Kind
from .memory import View
from .scan import Part
from .segment import Segment

TARGET = 0.995  # of the queries asked, so that others stay above 0.99
FITTED = 4  # the codes were fitted to the rows that ask: others miss more than they
QUERIES = 256
SEED = 4_711
FETCHES = (1, 2, 4, 8, 16, 32)  # candidates per hit tried where an index does not hold the vectors themselves
RESCORED = 6.0  # cost of scoring a candidate exactly, in the unit of plan.py
TIMED = 16  # queries timed one by one


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Queries to tune with; `own` says that they are rows of the segment."""

    queries_QD: NDArray[np.float32]
    own: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting of the knob: the recall it reached, and the milliseconds of a single query."""

    setting: int
    fetch: int
    recall: float
    ms: float


@dataclass(frozen=True, slots=True)
class Curve:
    """What the settings of one segment's index bring, what an exact scan takes, and what was chosen."""

    segment_id: int
    factory: str
    rows: int
    knob: str | None
    trials: list[Trial]
    scan_ms: float
    parameters: Mapping[str, int]

    @property
    def chosen(self) -> int:
        """The knob's value among the parameters."""
        return self.parameters.get(str(self.knob), 1)


class _Bench:
    """An index, queries, and their true neighbours."""

    def __init__(self, segment: Segment, index: FaissIndex, asked: Questions, k: int) -> None:
        self.k = min(k + asked.own, len(segment))
        self._asked, self._index, self._view = asked, index, View((segment,), 0)
        truth = scan.candidates([Part(segment, None, 0)], asked.queries_QD, self.k)
        _, scores, bounds = scan.ranked(self._view, asked.queries_QD, truth, self.k)
        self._worst_Q = scores[np.array(bounds[1:]) - 1]

    def ask(self, queries_QD: NDArray[np.float32], setting: int, fetch: int) -> scan.Ranked:
        """What a search with these parameters finds, with no scan where it finds too little."""
        count = min(fetch * self.k + plan.SPARE, len(self._index))
        labels_QC = self._index.search(queries_QD, count, None, setting)
        query_C, column_C = np.nonzero(labels_QC >= 0)
        return scan.ranked(self._view, queries_QD, (query_C, labels_QC[query_C, column_C]), self.k)

    def recall(self, setting: int, fetch: int) -> float:
        """The share of the true best whose scores were reached."""
        queries = len(self._asked.queries_QD)
        _, scores, bounds = self.ask(self._asked.queries_QD, setting, fetch)
        reached = np.count_nonzero(scores >= np.repeat(self._worst_Q, np.diff(bounds)))
        own = queries if self._asked.own else 0
        return max(0.0, (reached - own) / max(1, self.k * queries - own))


def sample(segment: Segment) -> Questions:
    """Rows of the segment to ask with."""
    chosen = np.random.default_rng(SEED).choice(len(segment), min(QUERIES, len(segment)), replace=False)
    return Questions(segment.floats(np.sort(chosen).astype(np.int64)), own=True)


def parameters(
    segment: Segment,
    index: FaissIndex,
    asked: Questions,
    target: float = TARGET,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """The cheapest parameters that reach the target for 10 and for 100 hits, or the best where none does."""
    kind = index.kind
    if asked.own and not kind.lossless:
        target = 1 - (1 - target) / FITTED
    narrow = _Bench(segment, index, asked, plan.NARROW)
    ways = []
    for fetch in (1,) if kind.lossless else FETCHES:
        progress()
        setting, recall = _lowest(narrow, settings(kind), fetch, target)
        price = plan.cost(kind, len(segment), setting) + RESCORED * fetch * plan.NARROW
        ways.append((recall < target, -recall if recall < target else price, fetch, setting))
    _, _, fetch, setting = min(ways)
    chosen = {} if kind.lossless else {"fetch": fetch}
    if kind.knob is None:
        return chosen
    wide = _Bench(segment, index, replace(asked, queries_QD=asked.queries_QD[: QUERIES // 4]), plan.WIDE)
    progress()
    upper, _ = _lowest(wide, [s for s in settings(kind) if s >= setting], fetch, target)
    return chosen | {kind.knob: setting, f"{kind.knob}_wide": upper}


def _lowest(bench: _Bench, ascending: list[int], fetch: int, target: float) -> tuple[int, float]:
    """The lowest setting that reaches the target, else the highest, and its recall; by halving."""
    low, high = 0, len(ascending) - 1
    best = bench.recall(ascending[high], fetch)
    while best >= target and low < high:
        middle = (low + high) // 2
        recall = bench.recall(ascending[middle], fetch)
        if recall >= target:
            high, best = middle, recall
        else:
            low = middle + 1
    return ascending[high], best


def settings(kind: Kind) -> list[int]:
    """The ascending values of the knob that are worth trying: each about a quarter above the last."""
    if kind.knob is None:
        return [1]
    lowest = plan.NARROW + plan.SPARE if kind.links else 1
    steps = np.unique(np.round(np.geomspace(lowest, kind.top, 40)).astype(int))
    return [int(step) for step in steps]


def curve(segment: Segment, asked: Questions, k: int = plan.NARROW, target: float = TARGET) -> Curve:
    """Recall and time over the settings of a sealed segment's index, and the parameters for the target."""
    if segment.sealed is None or segment.sealed.index is None:
        raise InvalidInput("a segment without an index has nothing to tune: its search is exact")
    index = segment.sealed.index
    chosen = parameters(segment, index, asked, target)
    bench = _Bench(segment, index, asked, k)
    fetch = chosen.get("fetch", 1)
    few = settings(index.kind)[::3]
    trials = []
    for setting in sorted({*few, *([chosen[index.kind.knob]] if index.kind.knob else [])}):
        ms = _ms(asked.queries_QD, partial(bench.ask, setting=setting, fetch=fetch))
        trials.append(Trial(setting, fetch, bench.recall(setting, fetch), ms))
        if trials[-1].recall >= 1.0 and setting > chosen.get(str(index.kind.knob), 0):
            break
    view = View((segment,), 0)
    scan_ms = _ms(asked.queries_QD, lambda query_1D: scan.search(view, query_1D, k, None))
    return Curve(
        segment.sealed.segment_id,
        segment.sealed.factory,
        len(segment),
        index.kind.knob,
        trials,
        scan_ms,
        chosen,
    )


def _ms(queries_QD: NDArray[np.float32], ask: Callable[[NDArray[np.float32]], object]) -> float:
    """The median time of a single query."""
    times = []
    for n in range(min(TIMED, len(queries_QD))):
        begin = time.perf_counter()
        ask(queries_QD[n : n + 1])
        times.append(time.perf_counter() - begin)
    return 1_000 * float(np.median(times))
