"""The probes without a recipe (neighbours, logistic regression, few-shot) on one plain view of a data set."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ...errors import InvalidInput
from .config import ProbeConfig
from .features import Features
from .knn import knn
from .logistic import best_logistic, blocks_of, few_shot
from .probe import Probe, describe
from .report import table_of, write_report
from .run import Job, prepare, stored_features


@dataclass(frozen=True)
class Comparison:
    """A data set with its backbone, and the features of its images."""

    job: Job
    features: Path | None  # where they are kept; None: nowhere

    @classmethod
    def of(cls, config: ProbeConfig, root: Path, features: Path | None) -> "Comparison":
        """The comparison on the data under `root`; its features are vectors."""
        if config.head == "attention_pooling":
            raise InvalidInput("neighbours and logistic regression need vectors, not attention_pooling")
        return cls(prepare(config, root, root), features)

    @contextmanager
    def stored(self) -> Iterator[tuple[Features, Features]]:
        """The features of the training and of the validation images, computed where they are not yet."""
        with TemporaryDirectory(prefix="polylens-features-") as folder:
            yield stored_features(self.job, self.features or Path(folder))

    @property
    def device(self) -> torch.device:
        """Where the backbone computes."""
        return next(self.job.frozen.vit.parameters()).device


def compare_knn(comparison: Comparison, ks: tuple[int, ...]) -> list[str]:
    """A table: a row for each layer and number of neighbours."""
    classes = comparison.job.data.train.classes
    with comparison.stored() as (train, held):
        return table_of(
            {
                f"layer {layer}, k {k}": knn(train, held, classes, place, k, comparison.device).summary()
                for place, layer in enumerate(train.layers)
                for k in ks
            }
        )


def fit_logistic(comparison: Comparison, out: Path, model: str) -> list[str]:
    """A table: a row for each layer; the best of them is saved as OUT/probe.safetensors with its report."""
    classes, frozen = comparison.job.data.train.classes, comparison.job.frozen
    figures, fitted = {}, []
    with comparison.stored() as (train, held):
        for place, layer in enumerate(train.layers):
            mine, others = (
                blocks_of(one, np.arange(len(one)), place, comparison.device) for one in (train, held)
            )
            head, meter, strength = best_logistic(mine, others, frozen.width, classes)
            figures[f"layer {layer}, penalty {strength:g}"] = meter.summary()
            fitted.append((meter.top1, layer, head, meter, strength))
    _, layer, head, meter, strength = max(fitted, key=lambda one: one[0])
    out.mkdir(parents=True, exist_ok=True)
    training = {"logistic": {"penalty": strength}, "figures": meter.summary()}
    Probe(head, describe(frozen, layer, classes, model, training)).save(out / "probe.safetensors")
    write_report(meter, out / "validation", f"{Path(model).name}, logistic regression, layer {layer}")
    return table_of(figures)


def compare_few_shot(comparison: Comparison, shots: tuple[int, ...], trials: int) -> list[str]:
    """A table: a row for each layer and number of images, top-1 with its deviation over the trials."""
    lines = ["layer   images per class   top-1   deviation"]
    with comparison.stored() as (train, held):
        for place, layer in enumerate(train.layers):
            others = blocks_of(held, np.arange(len(held)), place, comparison.device)
            classes = comparison.job.data.train.classes
            for shot in few_shot(train, others, classes, place, shots, comparison.device, trials=trials):
                lines.append(
                    f"{layer:5}   {shot.images:16}   {100 * shot.mean:5.2f}   {100 * shot.deviation:9.2f}"
                )
    return lines
