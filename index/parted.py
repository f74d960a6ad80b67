"""Indexes of all segments built in parts, by several processes or machines that share the folder.

One process leads: it has the collection open, trains an index on a sample of all rows, and writes plan and
trained index into FOLDER/build. Workers claim one segment after another, map its rows, fill a copy of the
trained index and leave it beside the plan. In the end the leader puts each in place as any sealed index. No
process holds more than the sample, or the codes of one segment. A build that was broken off goes on: what
lies in the folder with a matching checksum is not made again.

`python -m polylens.index.parted FOLDER` is a worker. Legend: T rows of the sample, D width.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput, PolylensError
from ..whole import write_whole
from . import faiss_build, policy, sealed
from .collection import Collection
from .errors import CorruptCollection
from .faiss_build import Steps, fewest_rows, filled, trained
from .faiss_index import FaissIndex, read
from .files import Files
from .memory import View
from .policy import Policy
from .schema import Identity
from .sealed import BUILD, Stamp
from .sealing import silent
from .segment import BLOCK_ROWS, Segment

PLAN, TRAINED = "plan.json", "trained.faiss"
STALE_SECONDS = 120  # a claim that nobody has touched for so long is of a worker that died


@dataclass(frozen=True, slots=True)
class Unit:
    """A segment to be filled: its rows, and the size and checksum of their file."""

    segment_id: int
    count: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What all parts of a build have in common."""

    factory: str
    dim: int
    dtype: str
    units: list[Unit]

    def text(self) -> str:
        """The plan as it is stored."""
        return json.dumps(asdict(self), indent=1)


def build(collection: Collection, factory: str, workers: int, progress: Steps) -> int:
    """The number of segments that got the index; smaller ones than it can serve stay exact.

    Workers beyond those started here may join meanwhile.
    """
    folder, sealing = collection.path / BUILD, collection.sealing
    collection.seal(progress)
    for segment in [s for s in sealing.memory.view.segments if s.live_N is not None]:
        sealing.run(lambda view, one=segment: _found(view, one), Policy("Flat"), progress)  # type: ignore[misc]
    least = fewest_rows(factory, collection.dim)
    parts = [s for s in sealing.memory.view.segments if len(s) >= least and _lacks(s, factory)]
    if not parts:
        return 0
    plan = Plan(factory, collection.dim, collection.dtype, [_unit(segment) for segment in parts])
    _prepare(folder, plan, parts, progress)
    with _workers(collection.path, workers):
        _wait(folder, plan, progress)
    for unit, segment in zip(plan.units, parts, strict=True):
        sealing.run(
            lambda view, one=segment: _found(view, one),  # type: ignore[misc]
            Policy(factory),
            progress,
            lambda new, _factory, _progress, unit=unit: _made(folder, unit, len(new)),  # type: ignore[misc]
        )
    shutil.rmtree(folder)
    return len(parts)


def _unit(segment: Segment) -> Unit:
    if segment.sealed is None:
        raise PolylensError("a segment is in no file, expected sealed ones")
    return Unit(segment.sealed.segment_id, len(segment), segment.sealed.rows.size, segment.sealed.rows.crc)


def _lacks(segment: Segment, factory: str) -> bool:
    return segment.sealed is not None and segment.sealed.factory != factory


def _found(view: View, wanted: Segment) -> range | None:
    """Where the segment is in the view."""
    ids = [segment.sealed.segment_id if segment.sealed else None for segment in view.segments]
    if wanted.sealed is None or wanted.sealed.segment_id not in ids:
        return None
    position = ids.index(wanted.sealed.segment_id)
    return range(position, position + 1)


def _prepare(folder: Path, plan: Plan, parts: Sequence[Segment], progress: Steps) -> None:
    """Leaves a build of the same plan as it is; else begins anew with a trained index, then the plan."""
    path = folder / PLAN
    if path.is_file() and path.read_text() == plan.text():
        return
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    index = trained(plan.factory, plan.dim, _sample(plan, parts), progress)
    _write_index(folder / TRAINED, index)
    write_whole(path, lambda part: part.write_text(plan.text()), sync=True)


def _sample(plan: Plan, parts: Sequence[Segment]) -> NDArray[np.float32]:
    """sample_TD of the rows of all segments."""
    ends = np.cumsum([len(segment) for segment in parts])
    rows_T = faiss_build.sample_rows(plan.factory, plan.dim, int(ends[-1]))
    cuts = np.searchsorted(rows_T, ends)
    begins = [0, *ends[:-1].tolist()]
    chosen = np.split(rows_T, cuts[:-1])
    return np.concatenate([s.floats(rows - b) for s, rows, b in zip(parts, chosen, begins, strict=True)])


def _write_index(path: Path, index: FaissIndex) -> None:
    """Writes an index, then, beside it, size and checksum: only with these does it count."""
    stamp = sealed.write_file(Files(), path, index.write)
    write_whole(path.with_suffix(".json"), lambda part: part.write_text(json.dumps(asdict(stamp))), sync=True)


def _stamp(path: Path) -> Stamp | None:
    try:
        return Stamp(**json.loads(path.with_suffix(".json").read_text()))
    except FileNotFoundError:
        return None


def _read_index(path: Path, count: int, *, gpu: bool) -> FaissIndex:
    """The verified index, of so many rows."""
    stamp = _stamp(path)
    if stamp is None:
        raise CorruptCollection(f"{path} was not finished")
    sealed.verify(Files(), path, stamp)
    with Files().map(path) as memory:
        index = read(memory, stamp.size, gpu)
    if len(index) != count:
        raise CorruptCollection(f"{path} holds {len(index)} rows, expected {count}")
    return index


def _path(folder: Path, unit: Unit) -> Path:
    return folder / f"unit-{unit.segment_id}.faiss"


def _made(folder: Path, unit: Unit, count: int) -> FaissIndex:
    if count != unit.count:
        raise CorruptCollection(f"segment {unit.segment_id} has {count} rows, expected {unit.count}")
    return _read_index(_path(folder, unit), count, gpu=True)


def read_plan(folder: Path) -> Plan:
    """The plan of the build that is going on in the collection's folder; `InvalidInput` if none is."""
    try:
        found = json.loads((folder / BUILD / PLAN).read_text())
    except FileNotFoundError:
        raise InvalidInput(f"nobody leads a build in {folder}") from None
    return Plan(found["factory"], found["dim"], found["dtype"], [Unit(**unit) for unit in found["units"]])


def work(folder: Path, progress: Steps) -> int:
    """The number of segments that this worker filled, once all are done or claimed by others."""
    plan, done = read_plan(folder), 0
    for unit in plan.units:
        path = _path(folder / BUILD, unit)
        claim = path.with_suffix(".claim")
        if _stamp(path) is None and _claimed(claim):
            try:
                _fill(folder, plan, unit, claim, progress)
                done += 1
            finally:
                claim.unlink(missing_ok=True)
    return done


def _claimed(claim: Path) -> bool:
    """Whether the claim is ours now; a stale one is taken over."""
    with contextlib.suppress(FileNotFoundError):
        if time.time() - claim.stat().st_mtime > STALE_SECONDS:
            claim.unlink(missing_ok=True)
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def _fill(folder: Path, plan: Plan, unit: Unit, claim: Path, progress: Steps) -> None:
    files, path = Files(), sealed.rows_path(folder, unit.segment_id)
    dtype = Identity(plan.dim, "any", dtype=plan.dtype).storage
    sealed.verify(files, path, Stamp(unit.size, unit.crc))
    rows = sealed.map_rows(files, path, unit.count, plan.dim, dtype).vectors_ND

    def blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, unit.count, BLOCK_ROWS):
            claim.touch()
            yield rows[start : start + BLOCK_ROWS].astype(np.float32)

    index = _read_index(folder / BUILD / TRAINED, 0, gpu=False)
    _write_index(_path(folder / BUILD, unit), filled(index, unit.count, blocks(), progress))


@contextlib.contextmanager
def _workers(folder: Path, count: int) -> Iterator[None]:
    """Runs so many workers beside this process, which are ended with it."""
    command = [sys.executable, "-m", "polylens.index.parted", str(folder)]
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _wait(folder: Path, plan: Plan, progress: Steps) -> None:
    """Returns when every unit is done: by others, or here, where nobody has claimed it."""
    while True:
        work(folder.parent, silent)
        done = sum(_stamp(_path(folder, unit)) is not None for unit in plan.units)
        progress("filling", done, len(plan.units))
        if done == len(plan.units):
            return
        time.sleep(0.2)


def factory_for(collection: Collection, asked: str) -> str:
    """The factory string: what was asked for, or for "auto" product codes for segments of this size."""
    if asked != policy.AUTO:
        return asked
    largest = max((len(segment) for segment in collection.sealing.memory.view.segments), default=0)
    return policy.factory(Policy(memory_bytes=1), max(largest, policy.INDEX_ROWS), collection.dim)


if __name__ == "__main__":
    work(Path(sys.argv[1]), silent)
