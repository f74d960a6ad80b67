"""Checkpoints of a run: written beside and renamed, loaded without pickled objects, the two newest kept."""

import dataclasses
import json
import shutil
from pathlib import Path

import torch

from ...backbone.saved_runs import refuse_others, write_checkpoint
from ..internvl_c import InternVLC
from .config import TrainConfig
from .learner import Learner


def save_checkpoint(
    out: Path, step: int, learner: Learner, optimizers: list[torch.optim.Optimizer], config: TrainConfig
) -> None:
    """Weights, optimiser state and step, on disk before the older ones go."""
    state = {
        "step": step,
        "learner": learner.state_dict(),
        "optimizers": [o.state_dict() for o in optimizers],
        "run": identity(config),
    }
    write_checkpoint(out, step, state)


def load_checkpoint(
    path: Path, learner: Learner, optimizers: list[torch.optim.Optimizer], config: TrainConfig
) -> int:
    """The step to go on from; weights and optimiser are filled in place."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    refuse_others(json.loads(state["run"]), json.loads(identity(config)))
    learner.load_state_dict(state["learner"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def identity(config: TrainConfig) -> str:
    """The settings that a resumed run must share, as JSON.

    Not where the files lie, nor how often to save and log, nor `steps`: a run may be made longer or shorter,
    and its learning rate follows the new length from there on.
    """
    ignored = {"pairs", "texts", "model", "tokenizer", "steps", "save_every", "log_every"}
    values = {k: v for k, v in dataclasses.asdict(config).items() if k not in ignored}
    return json.dumps(values, sort_keys=True)


def save_model(folder: Path, model: InternVLC, tokenizer: Path) -> None:
    """The trained model in the hub's layout, tokenizer included."""
    model.save_pretrained(folder)
    shutil.copy(tokenizer / "tokenizer.model", folder / "tokenizer.model")
