"""The check of an output: inputs against rows and rejects, files against checksums, vectors against sense."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InvalidInput, require
from .manifest import manifest_of, read_manifest
from .plan import FOLDER, SETTINGS, Plan
from .settings import Unit
from .shards import IMAGES, METADATA, REJECTS, TEXTS, Shard, described, load_vectors

LENGTH_ERROR = {"float16": 2e-3, "float32": 1e-5}  # of a unit vector, by its precision
AT_ONCE = 4096  # rows in memory
SHOWN = 3  # ids of a kind that one sentence names


@dataclass
class Report:
    """What the check saw, and a sentence for each thing that is wrong."""

    units: int = 0
    rows: int = 0
    rejected: int = 0
    problems: list[str] = field(default_factory=list)


def verify(
    out: Path, *, inputs: bool = True, report: Callable[[int, int, int], object] = lambda *counts: None
) -> Report:
    """The check of the output in `out`; with `inputs` its source is read again, without decoding."""
    if not (out / FOLDER / SETTINGS).exists():
        raise InvalidInput(f"{out} is not the output of a job: it has no {FOLDER}/{SETTINGS}")
    plan, found = Plan(out), Report()
    known: set[Path] = set()
    for number in range(len(plan)):
        shard, unit = Shard(out, number, len(plan)), plan.unit(number)
        record = shard.done()
        if record is None:
            found.problems.append(f"unit {shard.name} is not done, or lacks a file of the recorded size")
            continue
        problems = list(_shard_problems(shard, plan, record))
        if not problems:
            problems = list(_input_problems(shard, plan, unit, inputs=inputs))
        found.problems += [f"unit {shard.name}: {problem}" for problem in problems]
        found.units += 1
        found.rows += record["sample_count"]
        found.rejected += record["rejected"]
        known.update(out / name for name in record["files"])
        report(record["sample_count"] + record["rejected"], record["rejected"], 1)
    found.problems += list(_strays(out, known))
    if not found.problems and read_manifest(out) != manifest_of(plan):
        found.problems.append("the manifest is not there, or does not say what the shards hold")
    return found


def _shard_problems(shard: Shard, plan: Plan, record: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the files of a shard by themselves."""
    for name, wanted in record["files"].items():
        if described(shard.out / name) != wanted:
            yield f"{name} has another checksum than when it was written"
            return
    settings, rows = plan.settings, record["sample_count"]
    for kind in [IMAGES] * settings.images + [TEXTS] * settings.texts:
        vectors_ND = load_vectors(shard.file(kind))
        want = ((rows, plan.about["model"]["dim"]), settings.dtype)
        if (vectors_ND.shape, str(vectors_ND.dtype)) != want:
            yield f"{kind} is {vectors_ND.dtype} {vectors_ND.shape}, expected {want[1]} {want[0]}"
        elif (bad := _not_unit(vectors_ND, LENGTH_ERROR[settings.dtype])) is not None:
            yield f"row {bad} of {kind} is not of length 1"


def _not_unit(vectors_ND: npt.NDArray[Any], error: float) -> int | None:
    """The first row whose length is not 1."""
    for start in range(0, len(vectors_ND), AT_ONCE):
        lengths_N = np.linalg.norm(vectors_ND[start : start + AT_ONCE].astype(np.float32), axis=1)
        if (bad := np.flatnonzero(~(np.abs(lengths_N - 1) <= error))).size:
            return start + int(bad[0])
    return None


def _input_problems(shard: Shard, plan: Plan, unit: Unit, *, inputs: bool) -> Iterator[str]:
    """Where rows and rejects of a unit are not exactly its samples, in their order."""
    parquet = require("pyarrow.parquet", "embed")
    rows: list[str] = parquet.read_table(shard.file(METADATA), columns=["id"])["id"].to_pylist()
    with shard.file(REJECTS).open(encoding="utf-8") as file:
        refused = [str(json.loads(line)["id"]) for line in file]
    there = [*rows, *refused]
    if twice := [id for id, often in Counter(there).items() if often > 1]:
        yield f"there more than once: {_some(twice)}"
    if not inputs:
        if unit.part.samples not in (None, len(there)):
            yield f"{len(there)} samples, but {unit.part.samples} were planned"
        return
    wanted = [sample.id for sample in plan.read(unit)]
    if missing := sorted(set(wanted) - set(there)):
        yield f"missing: {_some(missing)}"
    if extra := sorted(set(there) - set(wanted)):
        yield f"not in the source: {_some(extra)}"
    if not (missing or extra or twice) and rows != [id for id in wanted if id not in set(refused)]:
        yield "the rows are not in the order of the source"


def _strays(out: Path, known: set[Path]) -> Iterator[str]:
    """Files among the shards that no record knows: readers of the folder would take them for shards."""
    for kind in (IMAGES, TEXTS, METADATA, REJECTS):
        for file in sorted((out / kind).glob("[!.]*")):
            if file not in known:
                yield f"{file.relative_to(out)} belongs to no unit"


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more
