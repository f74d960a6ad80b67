"""Logistic regression on stored features, by L-BFGS over the whole set, and its few-shot form.

The result is a `Head` whose BatchNorm holds the training set's mean and variance, so it is saved and used
like any other probe. Letters of the shapes: B block, F features, C classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InvalidInput
from .features import Features
from .heads import Head
from .metrics import Meter
from .samples import Labels
from .stream import cut

Blocks = Callable[[], Iterator[tuple[Tensor, Tensor]]]
BLOCK = 4096
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Shot:
    """The share of right answers, in [0, 1], after training on a few images of each class."""

    images: int  # of each class
    top1: tuple[float, ...]  # of each trial

    @property
    def mean(self) -> float:
        """Over the trials."""
        return float(np.mean(self.top1))

    @property
    def deviation(self) -> float:
        """Standard deviation over the trials, 0 for one."""
        return float(np.std(self.top1, ddof=1)) if len(self.top1) > 1 else 0.0


def blocks_of(features: Features, rows: Labels, place: int, device: torch.device) -> Blocks:
    """A function that goes through these rows of one layer: ((B, F) float32, labels_B), block by block."""

    def go() -> Iterator[tuple[Tensor, Tensor]]:
        for part in cut(rows, BLOCK):
            labels_B = torch.from_numpy(features.labels_N[part])
            yield features.rows(part)[:, place].to(device), labels_B.to(device)

    return go


def logistic(blocks: Blocks, width: int, classes: int, strength: float, *, iterations: int = 200) -> Head:
    """The head that minimises mean cross-entropy + strength / 2 * |W|² on standardised features.

    Every iteration reads all blocks, one at a time: memory does not grow with the set.
    """
    if strength < 0:
        raise InvalidInput(f"the strength of the penalty is {strength}, expected at least 0")
    head = standardised(blocks, width, classes)
    optimizer = torch.optim.LBFGS(
        list(head.head.parameters()), max_iter=iterations, history_size=10, line_search_fn="strong_wolfe"
    )
    total = sum(len(labels_B) for _, labels_B in blocks())

    def loss() -> Tensor:
        optimizer.zero_grad()
        penalty = strength / 2 * head.head.weight.square().sum()
        torch.autograd.backward(penalty)
        whole = penalty.detach()
        for block_BF, labels_B in blocks():
            part = F.cross_entropy(head(block_BF), labels_B, reduction="sum") / total
            torch.autograd.backward(part)
            whole = whole + part.detach()
        return whole

    step: Callable[[Callable[[], Tensor]], Any] = optimizer.step
    step(loss)
    return head.requires_grad_(False)


@torch.no_grad()
def standardised(blocks: Blocks, width: int, classes: int) -> Head:
    """A head in eval mode that standardises by the mean and variance of the blocks; its linear map is 0."""
    count, mean_F, square_F = 0, torch.zeros(width).double(), torch.zeros(width).double()
    device = torch.device("cpu")
    for block_BF, _ in blocks():
        device = block_BF.device
        # Chan et al., "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
        part_BF = block_BF.double().cpu()
        new = count + len(part_BF)
        shift_F = part_BF.mean(0) - mean_F
        square_F += (part_BF - part_BF.mean(0)).square().sum(0) + shift_F.square() * count * len(
            part_BF
        ) / new
        mean_F += shift_F * len(part_BF) / new
        count = new
    head = Head("cls_patch_concat", width, classes)
    if count == 0 or head.norm.running_mean is None or head.norm.running_var is None:
        raise InvalidInput("logistic regression needs at least one image")
    head.norm.running_mean.copy_(mean_F)
    # A feature that never changes carries nothing: it must not be blown up either.
    head.norm.running_var.copy_(torch.where(square_F > 0, square_F / count, 1.0))
    for parameter in head.head.parameters():
        parameter.zero_()
    head.norm.requires_grad_(False)
    return head.to(device).eval()


@torch.no_grad()
def counts(head: Head, blocks: Blocks, classes: tuple[str, ...]) -> Meter:
    """The head's counts over the blocks."""
    meter = Meter(classes)
    for block_BF, labels_B in blocks():
        meter.update(head(block_BF), labels_B)
    return meter


def best_logistic(
    train: Blocks,
    held: Blocks,
    width: int,
    classes: tuple[str, ...],
    strengths: tuple[float, ...] = STRENGTHS,
) -> tuple[Head, Meter, float]:
    """Head, its counts over `held`, and its strength: the best there of all strengths."""
    fitted = []
    for strength in strengths:
        head = logistic(train, width, len(classes), strength)
        fitted.append((head, counts(head, held, classes), strength))
    return max(fitted, key=lambda found: (found[1].top1, -found[1].calibration_error))


def few_shot(
    train: Features,
    held: Blocks,
    classes: tuple[str, ...],
    place: int,
    shots: tuple[int, ...],
    device: torch.device,
    *,
    trials: int = 5,
    strength: float = 1e-2,
    seed: int = 0,
) -> list[Shot]:
    """Logistic regressions on `shots` images of each class, drawn anew in each of the trials."""
    smallest = int(np.bincount(train.labels_N, minlength=len(classes)).min())
    if not shots or min(shots) < 1 or max(shots) > smallest:
        raise InvalidInput(f"shots are {list(shots)}, expected 1 to {smallest} (the rarest class)")
    found = []
    for images in shots:
        top1 = []
        for trial in range(trials):
            rows = drawn(
                train.labels_N, len(classes), images, np.random.default_rng((seed, 5, images, trial))
            )
            blocks = blocks_of(train, rows, place, device)
            head = logistic(blocks, train.shape[-1], len(classes), strength)
            top1.append(counts(head, held, classes).top1)
        found.append(Shot(images, tuple(top1)))
    return found


def drawn(labels_N: Labels, classes: int, images: int, random: np.random.Generator) -> Labels:
    """`images` rows of each class, at random."""
    picked = [random.permutation(np.flatnonzero(labels_N == label))[:images] for label in range(classes)]
    return np.concatenate(picked)
