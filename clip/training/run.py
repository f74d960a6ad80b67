"""The training loop: steps, checkpoints, exact resume, progress and the loss curve."""

import json
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn

from ...backbone.device import pick_device
from ...backbone.saved_runs import newest_checkpoint
from ...backbone.steps import prefetch
from ...backbone.world import World, join_world, local_device
from ...errors import InvalidInput
from ..config import InternVLConfig
from ..internvl_c import InternVLC
from ..tokenizer import Tokenizer
from .bag import start_as_bag
from .batches import Batch, BatchMaker
from .checkpoint import load_checkpoint, save_checkpoint, save_model
from .config import TrainConfig
from .curve import draw_curve
from .data import load_pairs
from .learner import Learner, make_optimizers, rate_share
from .locked import fix_proxies
from .pooling import start_pooling
from .positions import place_positions
from .proxies import start_proxies


def train(config: TrainConfig, out: Path, *, resume: bool = False) -> Path:
    """The folder of the trained model, in the hub's layout (OUT/model), after `config.steps` steps.

    OUT also gets `log.jsonl` (loss parts and rate by step), `loss.png` and `checkpoints/`. A killed run
    continues with `resume=True` and ends at the very weights of an unbroken one (same machine, same number of
    processes).
    """
    world = join_world()
    if not resume and newest_checkpoint(out) is not None:
        raise InvalidInput(f"{out} already holds a run; continue it with --resume or choose another folder")
    if config.lock_image and Path(config.model).is_file():
        raise InvalidInput(f"lock_image keeps a trained tower; {Path(config.model).name} has no weights")
    device = pick_device("auto") if world.size == 1 else local_device(world)
    torch.manual_seed(config.seed)
    pairs = load_pairs(config.pairs, config.texts)
    tokenizer = Tokenizer.from_pretrained(config.tokenizer)
    model = make_model(Path(config.model))
    learner = Learner(model, config, len(pairs.group_names)).to(device).train()
    optimizers = make_optimizers(learner, config)
    size = model.config.vision.image_size
    maker = BatchMaker(config, pairs, tokenizer, size, world.rank, world.size)
    checkpoint = newest_checkpoint(out) if resume else None
    start = load_checkpoint(checkpoint, learner, optimizers, config) if checkpoint else 0
    if checkpoint is None and config.bag_steps:
        start_as_bag(learner, pairs, tokenizer, config, quiet=not world.leads)
        start_pooling(learner, maker)
        if world.leads:
            save_checkpoint(out, 0, learner, optimizers, config)
    elif checkpoint is None and config.lock_image:
        fix_proxies(learner, pairs, tokenizer, config, size, quiet=not world.leads)
    elif checkpoint is None and config.proxies and Path(config.model).is_dir():
        start_proxies(learner, pairs, tokenizer, config, quiet=not world.leads)
    out.mkdir(parents=True, exist_ok=True)
    Loop(config, out, world, learner, optimizers, device).run(maker, start)
    if world.leads:
        save_model(out / "model", model, Path(config.tokenizer))
        draw_curve(out / "log.jsonl", out / "loss.png")
    return out / "model"


def make_model(source: Path) -> InternVLC:
    """InternVL-C in float32.

    Random weights of a config.json's sizes, or the weights of a checkpoint folder.
    """
    if source.is_file():
        try:
            model = InternVLC(InternVLConfig.from_dict(json.loads(source.read_text("utf-8"))))
        except json.JSONDecodeError as error:
            raise InvalidInput(f"{source.name} is not a JSON file: {error}") from error
        place_positions(model.vision_model)
        return model
    return InternVLC.from_pretrained(source, dtype=torch.float32, device="cpu")


class Loop:
    """One process's steps."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        world: World,
        learner: Learner,
        optimizers: list[torch.optim.Optimizer],
        device: torch.device,
    ) -> None:
        self.config, self.out, self.world, self.device = config, out, world, device
        self.learner, self.optimizers = learner, optimizers
        self.module: nn.Module = learner
        if world.size > 1:
            self.module = nn.parallel.DistributedDataParallel(learner)

    def run(self, maker: BatchMaker, start: int) -> None:
        """All steps from `start` on; only the leading process shows progress and writes files."""
        config = self.config
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), disable=not self.world.leads) as progress:
            bar = progress.add_task("training", total=config.steps, completed=start)
            clock = time.monotonic()
            for step, batches in enumerate(prefetch(maker.make, start, config.steps), start):
                parts = self.step(step, batches)
                done = step + 1
                progress.update(bar, completed=done)
                if self.world.leads and (done % config.log_every == 0 or done == config.steps):
                    rate = config.batch_size * config.log_every / (time.monotonic() - clock)
                    clock = time.monotonic()
                    self.report(done, parts, rate)
                    progress.update(bar, description=f"loss {parts['loss']:.3f}  {rate:.0f} img/s")
                if self.world.leads and (done % config.save_every == 0 or done == config.steps):
                    save_checkpoint(self.out, done, self.learner, self.optimizers, config)
                if self.world.size > 1:
                    dist.barrier()

    def step(self, step: int, batches: list[Batch]) -> dict[str, float]:
        """The mean loss parts of one optimiser step over its micro-batches."""
        share = rate_share(step, self.config)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share
        torch.manual_seed(hash((self.config.seed, step, self.world.rank)) % 2**63)  # drop path, patch dropout
        whole = step >= self.config.steps - self.config.whole_steps
        patch_keep = 1.0 if whole else 1 - self.config.patch_dropout
        total: dict[str, float] = {}
        for i, batch in enumerate(batches):
            with self.without_sync() if i < len(batches) - 1 else nullcontext():
                with self.autocast():
                    loss, parts = self.module(move(batch, self.device), patch_keep)
                torch.autograd.backward(loss / len(batches))
            for name, value in {"loss": loss.detach(), **parts}.items():
                total[name] = total.get(name, 0.0) + value.item() / len(batches)
        nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.gradient_clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.learner.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.learner.model.logit_scale.clamp_(max=torch.tensor(self.config.max_logit_scale).log().item())
        return total

    def without_sync(self) -> AbstractContextManager[None]:
        """Gradients stay in this process: all but the last micro-batch of a step."""
        if isinstance(self.module, nn.parallel.DistributedDataParallel):
            return self.module.no_sync()
        return nullcontext()

    def autocast(self) -> Any:
        """bf16 products where asked for, or on CUDA by itself; weights and optimiser stay float32."""
        half = self.config.precision == "bf16" or (
            self.config.precision == "auto" and self.device.type == "cuda"
        )
        return torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext()

    def report(self, done: int, parts: dict[str, float], rate: float) -> None:
        """One line in log.jsonl."""
        row = {
            "step": done,
            **parts,
            "scale": self.learner.model.logit_scale.exp().item(),
            "images_per_second": rate,
        }
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({k: round(v, 5) for k, v in row.items()}) + "\n")


def move(batch: Batch, device: torch.device) -> Batch:
    """The batch on `device`."""
    tensors: list[Tensor] = [
        t.to(device, non_blocking=True)
        for t in (batch.pixels_BCHW, batch.ids_ML, batch.image_group_B, batch.text_group_M)
    ]
    return Batch(*tensors)
