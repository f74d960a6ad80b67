"""All candidate heads of a run, trained side by side on the same features, and their averages.

Letters of the shapes: B batch, L tapped layers, C classes.
"""

import copy
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ProbeConfig
from .frozen import Frozen
from .heads import Head

RATE_BATCH = 512  # images that a configured learning rate is meant for


@dataclass(frozen=True)
class Candidate:
    """One point of the grid, as DINOv2 lays it (Oquab et al. 2023, appendix B.3)."""

    place: int  # of the layer among the tapped ones
    layer: int  # how many layers the tokens have passed
    rate: float  # per 512 images

    @property
    def name(self) -> str:
        """Short and unique in its run."""
        return f"layer {self.layer}, rate {self.rate:g}"


class Learner(nn.Module):
    """Heads, one per candidate, and the running averages of their weights."""

    def __init__(self, frozen: Frozen, classes: int, config: ProbeConfig, batch_size: int) -> None:
        super().__init__()
        self.candidates = [
            Candidate(place, layer, rate)
            for place, layer in enumerate(frozen.layers)
            for rate in config.learning_rates
        ]
        generator = torch.Generator().manual_seed(config.seed)
        heads = frozen.vit.config.num_attention_heads
        self.heads = nn.ModuleList()
        for _ in self.candidates:
            head = Head(config.head, frozen.width, classes, heads)
            head.init_weights(generator)
            self.heads.append(head)
        self.averages = copy.deepcopy(self.heads).requires_grad_(False).eval()
        self.decay = config.ema
        self.optimizer = torch.optim.SGD(
            [
                {"params": list(head.parameters()), "peak": candidate.rate * batch_size / RATE_BATCH}
                for head, candidate in zip(self.heads, self.candidates, strict=True)
            ],
            lr=0.0,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )

    def step(self, step: int, features: Tensor, labels_B: Tensor, rate_share: float) -> list[float]:
        """Each candidate's loss (nats) on the batch (B, L, ...), before all of them are updated by it."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate_share
        losses = [
            F.cross_entropy(head(features[:, candidate.place]), labels_B)
            for head, candidate in zip(self.heads, self.candidates, strict=True)
        ]
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses)
        values = torch.stack([loss.detach() for loss in losses])
        if dist.is_initialized() and dist.get_world_size() > 1:
            share_gradients(self.heads)
            dist.all_reduce(values)
            values /= dist.get_world_size()
        self.optimizer.step()
        self.average(step)
        return [float(value) for value in values]

    def average_head(self, number: int) -> Head:
        """The averaged head of a candidate, in eval mode."""
        return cast(Head, self.averages[number])

    @torch.no_grad()
    def average(self, step: int) -> None:
        """Nothing; the averages follow the heads, quickly in the first steps so that no start lingers."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        state = self.heads.state_dict()
        for name, tensor in self.averages.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(state[name], share)
            else:
                tensor.copy_(state[name])


@torch.no_grad()
def share_gradients(module: nn.Module) -> None:
    """Nothing; every gradient is then the mean over the processes."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
