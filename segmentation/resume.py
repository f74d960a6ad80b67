"""A resumed run draws the random numbers that the unbroken run would have drawn."""

from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

KEY = "torch_random_state"


@HOOKS.register_module(name="KeepRandomState")
class KeepRandomState(Hook):  # type: ignore[misc]  # mmengine has no types
    """Keeps torch's random state (drop path, dropout) in checkpoints; a resumed run goes on with it.

    numpy's and Python's, which the data pipeline uses, come out right by themselves: mmengine repeats the
    drawing of the data up to the step. On several processes only the first one's state is kept.
    """

    def __init__(self) -> None:
        self.pending: dict[str, Any] | None = None

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Nothing; the checkpoint then has the state of each generator."""
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        checkpoint[KEY] = {"cpu": torch.get_rng_state(), "cuda": cuda}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Nothing; the state waits for the first step when this is a resumption."""
        if runner._resume:
            self.pending = checkpoint.get(KEY)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Nothing; the first time after a resumption, torch's generators go on where they stopped."""
        if self.pending is not None and is_main_process():
            torch.set_rng_state(self.pending["cpu"].cpu())
            if self.pending["cuda"] is not None and torch.cuda.is_available():
                torch.cuda.set_rng_state(self.pending["cuda"].cpu())
        self.pending = None
