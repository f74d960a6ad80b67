"""What a collection consists of right now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .memory import View
from .schema import Identity


@dataclass(frozen=True, slots=True)
class SegmentState:
    """One sealed segment: its FAISS factory string, its rows, its files, and what its search was tuned to."""

    segment_id: int
    factory: str
    rows: int
    dead: int
    bytes: int
    parameters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CollectionState:
    """Counts and sizes. `degraded` has a sentence for each thing that went wrong and is not yet mended."""

    count: int
    dead: int
    dim: int
    metric: str
    dtype: str
    tail: int  # live rows in no segment's file: searched exactly
    disk_bytes: int
    memory_bytes: int  # of the tail and the indexes; files of rows are mapped, the system keeps what it can
    index: str  # what was asked for: a FAISS factory string or "auto"
    segments: list[SegmentState] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)


def state(folder: Path, identity: Identity, view: View, index: str, degraded: list[str]) -> CollectionState:
    """The state of the collection in this folder."""
    sealed = [
        SegmentState(
            segment.sealed.segment_id,
            segment.sealed.factory,
            len(segment),
            len(segment) - segment.live_count,
            segment.sealed.rows.size + segment.sealed.index_file.size,
            dict(segment.sealed.parameters),
        )
        for segment in view.segments
        if segment.sealed is not None
    ]
    loose = [segment for segment in view.segments if segment.sealed is None]
    indexes = [segment.sealed.index_file.size for segment in view.segments if segment.sealed is not None]
    return CollectionState(
        count=view.count,
        dead=sum(len(segment) - segment.live_count for segment in view.segments),
        dim=identity.dim,
        metric=identity.metric,
        dtype=identity.dtype,
        tail=sum(segment.live_count for segment in loose),
        disk_bytes=_disk_bytes(folder),
        memory_bytes=sum(segment.vectors_ND.nbytes for segment in loose) + sum(indexes),
        index=index,
        segments=sealed,
        degraded=degraded,
    )


def _disk_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # removed meanwhile
    return total
