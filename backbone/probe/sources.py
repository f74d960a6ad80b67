"""Where a step's features come from: the backbone (exact recipe) or the disk (cheap recipe).

Letters of the shapes: B images of this process's share of a step, L tapped layers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...errors import InvalidInput
from ..steps import prefetch, rows_of_step
from ..world import World
from .config import ProbeConfig
from .features import Features
from .frozen import Frozen
from .samples import Labels, Samples
from .stream import PLAIN, cut, stream


@dataclass(frozen=True)
class Schedule:
    """Which rows, in which epoch, each step takes; sizes count over all processes."""

    count: int  # training images
    batch_size: int
    steps: int
    warmup_steps: int
    seed: int

    @classmethod
    def of(cls, config: ProbeConfig, count: int, world: World) -> "Schedule":
        """The schedule of a run; a step never takes more images than there are."""
        size = min(config.batch_size, count) // world.size * world.size
        if size < 2 * world.size:  # BatchNorm needs two
            raise InvalidInput(f"{count} training images are too few for {world.size} processes")
        if config.batch_size % world.size:
            raise InvalidInput(f"batch_size {config.batch_size} is no multiple of {world.size} processes")
        steps = max(1, config.epochs * count // size)
        return cls(count, size, steps, round(config.warmup_epochs * count / size), config.seed)

    def rows(self, step: int, world: World) -> tuple[Labels, Labels]:
        """The rows of this process in a step, and the epoch that each of them belongs to."""
        rows = rows_of_step(step, self.batch_size, self.count, self.seed)
        epochs = np.arange(step * self.batch_size, (step + 1) * self.batch_size) // self.count
        return rows[world.rank :: world.size], epochs[world.rank :: world.size]

    def rate_share(self, step: int) -> float:
        """The learning rate of a step as a share of its peak: linear warm-up, then a cosine to zero."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        return float(0.5 * (1 + np.cos(np.pi * done)))


class Source(Protocol):
    """A run's batches, step by step, and a set's features in order."""

    def batches(self, start: int, world: World) -> Iterator[tuple[Tensor, Tensor]]:
        """(features (B, L, ...) float32, labels_B int64) of this process, for the steps from `start` on."""
        ...

    def plain(self, rows: Labels) -> Iterator[tuple[Tensor, Labels]]:
        """(features (B, L, ...) of the centre view, rows_B) of the validation images."""
        ...


@dataclass(frozen=True)
class ExactSource:
    """New views through the backbone in every epoch."""

    train: Samples
    validation: Samples
    frozen: Frozen
    config: ProbeConfig
    schedule: Schedule

    def batches(self, start: int, world: World) -> Iterator[tuple[Tensor, Tensor]]:
        """The steps' features as the backbone makes them; it takes `feature_batch` images at a time."""
        size = self.config.feature_batch
        pieces = stream(self.train, self.frozen, self.config, self.views(start, world))
        for step in range(start, self.schedule.steps):
            rows, _ = self.schedule.rows(step, world)
            features = torch.cat([next(pieces) for _ in cut(rows, size)])
            yield features, torch.from_numpy(self.train.labels_N[rows])

    def views(self, start: int, world: World) -> Iterator[tuple[Labels, Labels]]:
        """The views of all steps, cut into batches of the backbone."""
        size = self.config.feature_batch
        for step in range(start, self.schedule.steps):
            rows, epochs = self.schedule.rows(step, world)
            yield from zip(cut(rows, size), cut(epochs, size), strict=True)

    def plain(self, rows: Labels) -> Iterator[tuple[Tensor, Labels]]:
        """The validation features as the backbone makes them."""
        return plain_features(self.validation, rows, self.frozen, self.config)


@dataclass(frozen=True)
class StoredSource:
    """Features that were computed before."""

    train: Features
    validation: Features
    schedule: Schedule

    def batches(self, start: int, world: World) -> Iterator[tuple[Tensor, Tensor]]:
        """The steps' features from disk: epoch e takes pass e, and begins again after the last pass."""
        return prefetch(lambda step: self.batch(step, world), start, self.schedule.steps)

    def batch(self, step: int, world: World) -> tuple[Tensor, Tensor]:
        """One step's features and labels."""
        rows, epochs = self.schedule.rows(step, world)
        passes = epochs % self.train.passes
        features = torch.empty(len(rows), *self.train.shape)
        for one in np.unique(passes):
            features[passes == one] = self.train.rows(rows[passes == one], int(one))
        return features, torch.from_numpy(self.train.labels_N[rows])

    def plain(self, rows: Labels) -> Iterator[tuple[Tensor, Labels]]:
        """The stored validation features."""
        for part in cut(rows, 1024):
            yield self.validation.rows(part), part


def plain_features(
    samples: Samples, rows: Labels, frozen: Frozen, config: ProbeConfig
) -> Iterator[tuple[Tensor, Labels]]:
    """(features (B, L, ...) of the centre view, rows_B) of these images, in order."""
    parts = cut(rows, config.feature_batch)
    views = ((part, np.full(len(part), PLAIN)) for part in parts)
    yield from zip(stream(samples, frozen, config, views), parts, strict=True)
