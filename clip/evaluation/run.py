"""Runs over data sets and languages: what is finished is skipped, each result is written when it is there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ...backbone.world import World, join_world, local_device
from ..encoder import Encoder
from ..load import load
from .results import file_name, finished, result, write_result


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What to run, and where the results go."""

    model: str
    head: str = "C"
    task: str
    preprocess: str
    datasets: list[str]
    languages: list[str]
    out: Path | None = None
    again: bool = False
    limit: int | None = None
    batch: int = 32


Measure = Callable[[Encoder, World, str, str], Mapping[str, float]]  # of a data set, in a language


def run_all(runs: Runs, measure: Measure) -> list[dict[str, Any]] | None:
    """The results, in order; None in all processes of torchrun but the first.

    A result in the folder `out` that has the same model (by fingerprint) and limit is taken as it stands,
    unless `again`.
    """
    world = join_world()
    device = local_device(world) if world.size > 1 else "auto"
    encoder = load(runs.model, head=runs.head, preprocess=runs.preprocess, device=device)
    encoder.batch_size = runs.batch
    found = []
    for dataset, language in product(runs.datasets, runs.languages):
        facts: dict[str, Any] = {"head": runs.head, "fingerprint": encoder.fingerprint, "limit": runs.limit}
        file = (
            runs.out / file_name(encoder.name, runs.head, runs.task, dataset, language) if runs.out else None
        )
        kept = finished(file, **facts) if file and not runs.again else None
        if kept is None:
            named: dict[str, str] = {"task": runs.task, "dataset": dataset, "language": language}
            metrics = measure(encoder, world, dataset, language)
            kept = result(encoder.name, **named, metrics=metrics, **facts)
            if file and world.leads:
                write_result(file, kept)
        found.append(kept)
    return found if world.leads else None
