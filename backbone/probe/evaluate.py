"""A trained probe measured on evaluation sets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...errors import InvalidInput
from .config import ProbeConfig
from .layouts import PLACES, EvaluationSet, open_evaluation
from .metrics import Meter
from .probe import Classifier
from .report import write_report
from .sources import plain_features


def evaluate(classifier: Classifier, path: Path, layout: str, *, batch_size: int = 64) -> Meter:
    """The counts of a probe on one evaluation set, see `layouts`."""
    return measure(classifier, open_evaluation(path, layout, classifier.probe.classes), batch_size)


def measure(classifier: Classifier, found: EvaluationSet, batch_size: int = 64) -> Meter:
    """The counts of a probe on opened images."""
    meter = Meter(classifier.probe.classes, found.columns)
    config = ProbeConfig(model="", feature_batch=batch_size)
    rows = torch.arange(len(found.samples)).numpy()
    for features, part in plain_features(found.samples, rows, classifier.frozen, config):
        meter.update(classifier.logits(features), found.labels[torch.from_numpy(part)])
    return meter


def evaluate_published(classifier: Classifier, root: Path) -> dict[str, Meter]:
    """The counts by set, for those sets of the published table that lie under `root`."""
    there = {name: root / place for name, place in PLACES.items() if (root / place).exists()}
    if not there:
        places = ", ".join(dict.fromkeys(PLACES.values()))
        raise InvalidInput(f"{root} holds none of the published evaluation sets: {places}")
    return {name: evaluate(classifier, path, name) for name, path in there.items()}


def write_reports(meters: Mapping[str, Meter], out: Path, title: str) -> list[dict[str, Any]]:
    """The reports' contents; each lies in a folder of its own under `out`."""
    return [write_report(meter, out / name, f"{title}, {name}") for name, meter in meters.items()]
