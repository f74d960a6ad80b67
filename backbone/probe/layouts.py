"""Where data sets keep their images and labels: training data with its validation set, and evaluation sets.

N counts images, M right classes per image (padded with -1).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import InvalidInput
from ..errors import some
from .samples import Labels, Samples, read_folder, read_tars

VALIDATION_NAMES = ("val", "validation", "test")
# Evaluation sets by the names of the published table, and where they lie in a folder of all of them.
PLACES = {
    "imagenet1k": "val",
    "imagenet-real": "val",
    "imagenetv2": "imagenetv2",
    "imagenet-a": "imagenet-a",
    "imagenet-r": "imagenet-r",
    "imagenet_sketch": "imagenet_sketch",
}
LAYOUTS = ("folder", *PLACES)
SUBSETS = ("imagenet-a", "imagenet-r")  # 200 of the 1000 classes; nothing else may be answered
REAL_LABELS = "real.json"
VAL_NUMBER = re.compile(r"_val_(\d+)\.\w+$")  # ILSVRC2012_val_00000001.JPEG


@dataclass(frozen=True)
class Data:
    """What a probe is trained on and validated with; both have the same classes in the same order."""

    train: Samples
    validation: Samples


@dataclass(frozen=True)
class EvaluationSet:
    """Images, the right classes of each as labels of the probe, and the classes that may be answered."""

    samples: Samples
    labels: Tensor  # (N,), or (N, M)
    columns: tuple[int, ...] | None  # None: all


def read_set(path: Path) -> Samples:
    """The images of a folder of class folders, of a folder of webdataset tars, or of one tar."""
    tars = [path] if path.suffix == ".tar" and path.is_file() else sorted(path.glob("*.tar"))
    return read_tars(tars) if tars else read_folder(path)


def open_data(root: Path, *, classes: int = 0, validation: float = 0.2, seed: int = 0) -> Data:
    """The training and validation images under `root`.

    With `train/` and `val/` (or `validation/`, `test/`) inside, or shards `train-*.tar` and `val-*.tar`,
    those are the two; a plain set of class folders or of tars loses the share `validation` of every class.
    `classes` above 0 is how many there must be.
    """
    if not root.exists():
        raise InvalidInput(f"{root} does not exist; expected a folder of class folders or of tars")
    train_tars = sorted(root.glob("train-*.tar"))
    if train_tars or (root / "train").is_dir():
        train = read_tars(train_tars) if train_tars else read_set(root / "train")
        held = renamed(read_validation(root), train.classes, "the validation set")
    else:
        train, held = divide(read_set(root), validation, seed)
    if classes and len(train.classes) != classes:
        raise InvalidInput(f"{root} has {len(train.classes)} classes, expected {classes}")
    if len(train.classes) < 2:
        raise InvalidInput(f"{root} has one class ({train.classes[0]}); a probe needs two or more")
    return Data(train, held)


def read_validation(root: Path) -> Samples:
    """The validation set beside a training set."""
    for name in VALIDATION_NAMES:
        if tars := sorted(root.glob(f"{name}-*.tar")):
            return read_tars(tars)
        if (root / name).is_dir():
            return read_set(root / name)
    raise InvalidInput(f"{root} holds a training set, but none of {', '.join(VALIDATION_NAMES)}")


def divide(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Two parts of one set: at random, but with the same share of every class that has two images."""
    random = np.random.default_rng((seed, 4))
    held: list[int] = []
    for label in range(len(samples.classes)):
        rows = random.permutation(np.flatnonzero(samples.labels_N == label))
        count = min(max(round(len(rows) * share), 1), len(rows) - 1) if share else 0
        held += rows[:count].tolist()
    if not held:
        raise InvalidInput(
            f"no image is left for validation: {len(samples)} images, validation = {share}, "
            f"{len(samples.classes)} classes"
        )
    mask_N = np.zeros(len(samples), bool)
    mask_N[held] = True
    return samples.select(np.flatnonzero(~mask_N)), samples.select(np.flatnonzero(mask_N))


def renamed(samples: Samples, classes: Sequence[str], what: str, *, partial: bool = False) -> Samples:
    """The samples with the labels of `classes`.

    Sets whose classes are numbers (ImageNet-V2's folders, webdataset's .cls) count the classes in order.
    Unknown classes are refused, and missing ones as well unless `partial`.
    """
    index = {name: label for label, name in enumerate(classes)}
    if all(name.isdecimal() for name in samples.classes) and not all(name.isdecimal() for name in classes):
        index = {str(label): label for label in range(len(classes))}
    present = [samples.classes[label] for label in np.unique(samples.labels_N)]
    if unknown := [name for name in present if name not in index]:
        raise InvalidInput(
            f"{what} has {len(unknown)} classes that the probe does not know: {some(unknown)}; "
            f"it knows {len(classes)}, such as {some(list(classes), 3)}"
        )
    there = {index[name] for name in present}
    if not partial and (missing := [name for i, name in enumerate(classes) if i not in there]):
        raise InvalidInput(f"{what} lacks {len(missing)} of the {len(classes)} classes: {some(missing)}")
    labels = np.array([index.get(name, -1) for name in samples.classes], np.int64)
    return replace(samples, labels_N=labels[samples.labels_N], classes=tuple(classes))


def open_evaluation(path: Path, layout: str, classes: Sequence[str]) -> EvaluationSet:
    """The evaluation set at `path`: any folder with all the classes, or one of the published table's.

    "imagenet-real" wants ImageNet's validation images and `real.json` beside their folder.
    """
    if layout not in LAYOUTS:
        raise InvalidInput(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    partial = layout in SUBSETS
    samples = renamed(read_set(path), classes, str(path), partial=partial)
    labels = torch.from_numpy(samples.labels_N)
    if layout == "imagenet-real":
        return real_labels(samples, path.parent / REAL_LABELS, len(classes))
    if not partial:
        return EvaluationSet(samples, labels, None)
    columns = tuple(np.unique(samples.labels_N).tolist())
    if len(classes) == 1000 and len(columns) != 200:
        raise InvalidInput(f"{path} has {len(columns)} of the 1000 classes; {layout} has 200")
    return EvaluationSet(samples, labels, columns)


def real_labels(samples: Samples, path: Path, classes: int) -> EvaluationSet:
    """The validation images with the labels of "Are we done with ImageNet?" (Beyer et al., 2020).

    Its file lists the right classes of every image in the order of the images' numbers; those without any
    do not count.
    """
    try:
        listed = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the labels of imagenet-real, {path}, cannot be read: {error}") from error
    well_formed = isinstance(listed, list) and all(
        isinstance(own, list) and all(isinstance(label, int) and 0 <= label < classes for label in own)
        for own in listed
    )
    if not well_formed:
        raise InvalidInput(f"{path} must be a list of lists of classes, 0 to {classes - 1}")
    numbers = []
    for row in range(len(samples)):
        match = VAL_NUMBER.search(samples.name(row))
        if match is None or not 1 <= int(match[1]) <= len(listed):
            raise InvalidInput(
                f"{samples.name(row)} is no image of {path.name}, expected ILSVRC2012_val_ and a number "
                f"of 1 to {len(listed)}"
            )
        numbers.append(int(match[1]) - 1)
    rows: Labels = np.array([row for row, number in enumerate(numbers) if listed[number]], np.int64)
    if not len(rows):
        raise InvalidInput(f"{path} has no label for any of the {len(samples)} images")
    own = [listed[numbers[row]] for row in rows]
    most = max(len(labels) for labels in own)
    padded = torch.tensor([labels + [-1] * (most - len(labels)) for labels in own])
    # (N, 1) would be read as one right class each, which is what it is.
    return EvaluationSet(samples.select(rows), padded, None)
