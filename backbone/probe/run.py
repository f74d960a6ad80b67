"""A probe's training run: features, steps, checkpoints, exact resume, and the choice among the candidates."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...errors import InvalidInput
from ..device import pick_device
from ..saved_runs import newest_checkpoint, refuse_others, write_checkpoint
from ..world import World, join_world, local_device
from .config import ProbeConfig
from .features import Features, compute_features, meet
from .frozen import Frozen, freeze
from .layouts import Data, open_data
from .learner import Learner
from .metrics import Meter
from .probe import Probe, describe
from .report import draw_curve, write_report
from .samples import Samples
from .sources import ExactSource, Schedule, Source, StoredSource

# Settings that a resumed run may change: they decide nothing about the weights.
FREE = {"model", "workers", "save_every", "log_every"}


@dataclass(frozen=True)
class Job:
    """What the parts of a run share."""

    config: ProbeConfig
    out: Path
    world: World
    frozen: Frozen
    data: Data

    @property
    def identity(self) -> dict[str, Any]:
        """What a resumed run must share, as JSON can hold it."""
        settings = {name: value for name, value in self.config.to_dict().items() if name not in FREE}
        told = {"training data": self.data.train.fingerprint(), "backbone": self.frozen.fingerprint}
        return settings | told


def train_probe(
    config: ProbeConfig,
    root: Path,
    out: Path,
    *,
    resume: bool = False,
    features: Path | None = None,
    known_as: str = "",
) -> Path:
    """The file of the trained probe (OUT/probe.safetensors), after all its epochs.

    OUT also gets `candidates.json` (the grid's figures), `log.jsonl`, `loss.png`, `checkpoints/` and
    `validation/` with the best candidate's report. A killed run goes on with `resume=True` and ends at the
    very weights of an unbroken one. The cheap recipe keeps its features under `features`, by default in
    OUT/features. `known_as` is the model's name as the probe shall remember it.
    """
    if not resume and newest_checkpoint(out) is not None:
        raise InvalidInput(f"{out} already holds a run; continue it with --resume or choose another folder")
    job = prepare(config, root, out)
    source, schedule = open_source(job, features or out / "features")
    device = next(job.frozen.vit.parameters()).device
    learner = Learner(job.frozen, len(job.data.train.classes), config, schedule.batch_size).to(device)
    checkpoint = newest_checkpoint(out) if resume else None
    start = load(checkpoint, learner, job) if checkpoint else 0
    out.mkdir(parents=True, exist_ok=True)
    run_steps(job, source, schedule, learner, start)
    meters = validate(learner, source, job)
    if job.world.leads:
        finish(job, learner, meters, known_as or config.model)
    meet(job.world)
    return out / "probe.safetensors"


def prepare(config: ProbeConfig, root: Path, out: Path) -> Job:
    """The data and the frozen backbone of a run."""
    world = join_world()
    data = open_data(root, classes=config.classes, validation=config.validation, seed=config.seed)
    device = pick_device("auto") if world.size == 1 else local_device(world)
    frozen = freeze(
        config.model,
        config.head,
        config.layers,
        image_size=config.image_size,
        patch_size=config.patch_size,
        dtype=config.precision,
        device=device,
    )
    return Job(config, out, world, frozen, data)


def open_source(job: Job, root: Path) -> tuple[Source, Schedule]:
    """Where the steps' features come from; by the cheap recipe they are computed now."""
    config, data = job.config, job.data
    schedule = Schedule.of(config, len(data.train), job.world)
    if config.recipe == "exact":
        return ExactSource(data.train, data.validation, job.frozen, config, schedule), schedule
    train, validation = stored_features(job, root)
    return StoredSource(train, validation, schedule), schedule


def stored_features(job: Job, root: Path) -> tuple[Features, Features]:
    """The features on disk of the training images, in all passes, and of the validation images."""
    config, data = job.config, job.data
    total = len(data.train) * max(config.passes, 1) + len(data.validation)
    with progress(job.world, "features", total) as advance:

        def compute(samples: Samples, passes: int) -> Features:
            return compute_features(
                root, samples, job.frozen, config, job.world, passes=passes, progress=advance
            )

        return compute(data.train, config.passes), compute(data.validation, 0)


@contextmanager
def progress(world: World, what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A function that moves a bar on stderr; only the leading process shows one."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not world.leads) as bars:
        bar = bars.add_task(what, total=total, completed=done)
        yield lambda count: bars.advance(bar, count * (world.size if what == "features" else 1))


def run_steps(job: Job, source: Source, schedule: Schedule, learner: Learner, start: int) -> None:
    """Nothing; the steps from `start` on are taken. The leading process writes log and checkpoints."""
    config, log = job.config, Log(job.out / "log.jsonl", start, job.world)
    device = next(learner.parameters()).device
    learner.heads.train()
    with progress(job.world, "training", schedule.steps, start) as advance:
        for step, (features, labels) in enumerate(source.batches(start, job.world), start):
            share = schedule.rate_share(step)
            losses = learner.step(step, features.to(device), labels.to(device), share)
            done = step + 1
            advance(1)
            if done % config.log_every == 0 or done == schedule.steps:
                names = (candidate.name for candidate in learner.candidates)
                log.add({"step": done, "losses": dict(zip(names, losses, strict=True))})
            if done % config.save_every == 0 or done == schedule.steps:
                if job.world.leads:
                    save(done, learner, job)
                meet(job.world)


class Log:
    """log.jsonl of the leading process; a resumed run drops the lines of steps that it takes again."""

    def __init__(self, path: Path, start: int, world: World) -> None:
        self.path, self.leads = path, world.leads
        if self.leads:
            lines = path.read_text("utf-8").splitlines() if start and path.exists() else []
            kept = [line for line in lines if json.loads(line)["step"] <= start]
            path.write_text("".join(f"{line}\n" for line in kept), "utf-8")

    def add(self, row: dict[str, Any]) -> None:
        """One line."""
        if self.leads:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def save(step: int, learner: Learner, job: Job) -> None:
    """Nothing; a checkpoint of the step is on disk."""
    state = {
        "step": step,
        "learner": learner.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "run": json.dumps(job.identity),
    }
    write_checkpoint(job.out, step, state)


def load(path: Path, learner: Learner, job: Job) -> int:
    """The step to go on from; weights, averages and momentum are filled in place."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    refuse_others(json.loads(state["run"]), job.identity)
    learner.load_state_dict(state["learner"])
    learner.optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


@torch.no_grad()
def validate(learner: Learner, source: Source, job: Job) -> list[Meter]:
    """Each candidate's counts on the validation images, by its averaged weights."""
    validation, world = job.data.validation, job.world
    meters = [Meter(validation.classes) for _ in learner.candidates]
    device = next(learner.parameters()).device
    for features, rows in source.plain(np.arange(len(validation))[world.rank :: world.size]):
        labels = torch.from_numpy(validation.labels_N[rows])
        features = features.to(device)
        for head, candidate, meter in zip(learner.averages, learner.candidates, meters, strict=True):
            meter.update(head(features[:, candidate.place]), labels)
    for meter in meters:
        meter.gather()
    return meters


def finish(job: Job, learner: Learner, meters: list[Meter], model: str) -> None:
    """Nothing; the best candidate is the probe, and all candidates' figures are written."""
    config, frozen, out = job.config, job.frozen, job.out
    figures = [
        {"candidate": candidate.name, **meter.summary()}
        for candidate, meter in zip(learner.candidates, meters, strict=True)
    ]
    chosen = max(range(len(meters)), key=lambda i: (meters[i].top1, -meters[i].calibration_error))
    candidate = learner.candidates[chosen]
    training = {"settings": config.to_dict(), "candidate": asdict(candidate), "figures": figures[chosen]}
    about = describe(frozen, candidate.layer, job.data.train.classes, model, training)
    Probe(learner.average_head(chosen), about).save(out / "probe.safetensors")
    (out / "candidates.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    draw_curve(out / "log.jsonl", out / "loss.png")
    title = f"{Path(model).name}, {config.head}, {candidate.name}"
    write_report(meters[chosen], out / "validation", title)
