"""Search through the indexes of sealed segments where that pays, and by scanning elsewhere.

Legend: Q queries, D width, C candidates.

An index only proposes: the scores are the exact ones of `scan.ranked`, so a hit's score and the order among
hits never depend on the kind of index. What an index may do is to miss a row.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import scan
from .memory import View
from .plan import Effort, Probe, probe
from .scan import Candidates, Part, Ranked


def search(
    view: View, queries_QD: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None, effort: Effort
) -> Ranked:
    """The best live (and allowed) rows of all queries, as `scan.search` does, if no index misses one."""
    parts = scan.parts(view, allowed)
    asked: list[tuple[Part, Probe]] = []
    scanned: list[Part] = []
    for part in parts:
        way = _way(part, min(len(queries_QD), scan.GROUP_QUERIES), k, effort)
        if way is None:
            scanned.append(part)
        else:
            asked.append((part, way))
    groups = []
    for start in range(0, len(queries_QD), scan.GROUP_QUERIES):
        queries = queries_QD[start : start + scan.GROUP_QUERIES]
        found = [proposed(part, way, queries, k) for part, way in asked]
        if scanned:
            found.append(scan.candidates(scanned, queries, k))
        groups.append(scan.ranked(view, queries, _together(found), k))
    return scan.joined(groups)


def _way(part: Part, queries: int, k: int, effort: Effort) -> Probe | None:
    sealed = part.segment.sealed
    if sealed is None or sealed.index is None or effort.exact:
        return None  # without counting the rows
    return probe(part.segment, part.count, queries, k, effort)


def proposed(part: Part, way: Probe, queries_QD: NDArray[np.float32], k: int) -> Candidates:
    """The candidates of a part's index; where it came to fewer than it must know, those of a scan."""
    if part.segment.sealed is None or part.segment.sealed.index is None:
        return scan.candidates([part], queries_QD, k)
    labels_QC = part.segment.sealed.index.search(queries_QD, way.count, part.bits, way.setting)
    known_QC = labels_QC >= 0
    short_Q = short(known_QC, min(k, way.count))
    if len(short_Q):
        known_QC[short_Q] = False
    query_C, column_C = np.nonzero(known_QC)
    found = query_C, labels_QC[query_C, column_C] + part.offset
    if not len(short_Q):
        return found
    query_C, position_C = scan.candidates([part], queries_QD[short_Q], k)
    return _together([found, (short_Q[query_C], position_C)])


def short(known_QC: NDArray[np.bool_], needed: int) -> NDArray[np.int64]:
    """The queries for which an index knew fewer rows than needed."""
    return np.flatnonzero(np.count_nonzero(known_QC, axis=1) < needed)


def _together(found: Sequence[Candidates]) -> Candidates:
    if len(found) == 1:
        return found[0]
    none = np.empty(0, np.int64)
    return (
        np.concatenate([none, *(query for query, _ in found)]),
        np.concatenate([none, *(position for _, position in found)]),
    )
