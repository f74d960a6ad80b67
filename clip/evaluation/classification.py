"""Zero-shot classification of a data set.

Legend: C = classes, N = images, D = width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...backbone.world import World
from ...errors import InvalidInput
from ..encoder import Vectors
from .classifier import build_classifier
from .encode import ALONE, Embeds, encode_items
from .items import Items
from .prompts import Templates, prompts_of
from .zero_shot import Floats, any_label_metrics, label_metrics, mean_average_precision

# "class": one number per image; "any": a list of right numbers (images with none do not count);
# "each": 0 or 1 for every class.
TARGETS = ("class", "any", "each")
SCALE = np.float32(100)  # clip_benchmark's factor on cosines, so that logits are its logits


@dataclass(frozen=True)
class Labelled:
    """Images, what is right for each (see TARGETS), and the classes as they are called in the prompts."""

    items: Items
    classes: tuple[str, ...]
    templates: Templates
    targets: str = "class"


def evaluate_classification(
    encoder: Embeds,
    data: Labelled,
    *,
    world: World = ALONE,
    cache: Path | None = None,
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """clip_benchmark's metrics of the data set, as fractions; `limit` takes its first images only."""
    prompts = prompts_of(data.classes, data.templates)
    classifier_CD = build_classifier(encoder, prompts, world=world, cache=cache, progress=progress)
    images_ND, targets = encode_items(encoder, data.items, world=world, limit=limit, progress=progress)
    if not len(images_ND):
        raise InvalidInput("the data set has no images")
    return metrics_of(scored(images_ND, classifier_CD), targets, data.targets)


def scored(images_ND: Vectors, classifier_CD: Vectors) -> Floats:
    """(N, C) float32 logits: 100 times the cosines."""
    return SCALE * (images_ND @ classifier_CD.T)


def metrics_of(scores_NC: Floats, targets: Sequence[Any], kind: str) -> dict[str, float]:
    """The metrics that suit the kind of targets."""
    if kind == "class":
        labels_N = np.array([int(target) for target in targets])
        if labels_N.min() < 0 or labels_N.max() >= scores_NC.shape[1]:
            raise InvalidInput(f"labels go up to {labels_N.max()}, there are {scores_NC.shape[1]} classes")
        return label_metrics(scores_NC, labels_N)
    if kind == "any":
        rows = [row for row, own in enumerate(targets) if len(own)]
        return any_label_metrics(scores_NC[rows], [targets[row] for row in rows])
    return {"mean_average_precision": mean_average_precision(scores_NC, np.stack(targets))}
