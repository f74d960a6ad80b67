"""A job on a Ray cluster: units go through a pool of actors, each of which does what one process does alone.

Ray Data hands the units out, starts as many actors as the cluster has room for, starts lost ones anew on
other machines, and gives their units out again. What a unit holds follows from the plan alone, and it is done
when its record is on disk, so the output is that of a job without Ray, byte for byte, whatever was killed.
All machines see OUT and the sources under the same names.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InvalidInput, PolylensError, require
from ..cluster import connected
from ..load import load
from .errors import Incomplete
from .manifest import finish
from .plan import Plan
from .run import Bench, Report, refuse_failed, retried
from .shards import Shard

HELD_SECONDS = 60.0  # how long the process of a lost machine may hold its unit until it notices
Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Resources:
    """What an actor asks the cluster for, and how many there are at most; 0 for as many as there is room."""

    cpus: float = 1
    gpus: float = 0
    actors: int = 0
    workers: int = 0  # decoding processes of an actor


class Actor:
    """Does units, one after the other, with a model of its own."""

    def __init__(self, out: str, model: Mapping[str, Any], workers: int) -> None:
        self._plan = Plan(Path(out))
        encoder = load(**model)
        found = {"fingerprint": encoder.fingerprint, "precision": str(encoder.dtype).removeprefix("torch.")}
        wanted = {name: self._plan.about["model"][name] for name in found}
        if found != wanted:
            raise InvalidInput(f"this machine's model is {found}, expected {wanted}; give --dtype")
        self._bench = Bench(self._plan, encoder, workers)

    def __call__(self, batch: Numbers) -> dict[str, list[Any]]:
        """For each unit its rows, its rejects, and an error or nothing."""
        told: dict[str, list[Any]] = {"unit": [], "rows": [], "rejected": [], "error": []}
        for number in map(int, batch["unit"]):
            record, error = self._do(number)
            told["unit"].append(number)
            told["rows"].append(record["sample_count"] if record else 0)
            told["rejected"].append(record["rejected"] if record else 0)
            told["error"].append(error)
        return told

    def _do(self, number: int) -> tuple[dict[str, Any] | None, str]:
        shard = Shard(self._plan.out, number, len(self._plan))
        until = time.monotonic() + HELD_SECONDS
        while time.monotonic() < until:
            failed = self._bench.do([number], lambda samples, rejected, units: None)
            if failed:
                return None, str(failed[number])
            if record := shard.done():
                return record, ""
            time.sleep(0.2)  # another process has it: one that is being killed, or one of another job
        return None, "another process has it"


def run_on_ray(
    plan: Plan,
    model: Mapping[str, Any],
    resources: Resources,
    report: Report = lambda samples, rejected, units: None,
) -> dict[str, Any]:
    """The manifest, when every unit is done. `model` has the arguments of `load`.

    Uses the cluster that RAY_ADDRESS names, or this machine alone. `Incomplete` if units failed, however
    often they were tried.
    """
    left = [n for n in range(len(plan)) if not Shard(plan.out, n, len(plan)).done()]
    with connected():
        refuse_failed(retried(lambda numbers: _pass(plan, model, resources, numbers, report), left))
    manifest = finish(plan)
    if manifest is None:
        raise Incomplete(f"units of {plan.out} are missing: a file of theirs is gone")
    return manifest


def _pass(
    plan: Plan, model: Mapping[str, Any], resources: Resources, numbers: Sequence[int], report: Report
) -> dict[int, Exception]:
    """The units that failed in one pass over these."""
    if not numbers:
        return {}
    data = require("ray.data", "ray")
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    units = data.from_items([{"unit": n} for n in numbers], override_num_blocks=len(numbers))
    most = min(resources.actors or len(numbers), len(numbers))
    done = units.map_batches(
        Actor,
        fn_constructor_args=(str(plan.out.absolute()), dict(model), resources.workers),
        batch_size=1,
        compute=data.ActorPoolStrategy(min_size=1, max_size=most),
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
    )
    failed: dict[int, Exception] = {}
    for row in done.iter_rows():
        if row["error"]:
            failed[row["unit"]] = PolylensError(row["error"])
        else:
            report(row["rows"] + row["rejected"], row["rejected"], 1)
    return failed
