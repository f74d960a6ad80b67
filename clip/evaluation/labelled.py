"""Where classification data sets keep their images and labels, and what their classes are called.

ImageNet's family and webdatasets are read here, from the places where their archives unpack; every other
data set that clip_benchmark knows through its own builder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...backbone.probe.layouts import REAL_LABELS, read_set, real_labels, renamed
from ...backbone.probe.samples import Samples
from ...errors import InvalidInput, require
from .classification import Labelled
from .items import Indexed, Listed, Stored
from .prompts import (
    FALLBACK,
    Templates,
    package_tag,
    packaged_classes,
    packaged_templates,
    read_classes,
    read_templates,
)

FOLDER = "folder"
# Places below the folder given in which ImageNet and its relatives lie; the first that exists is read.
PLACES = {
    "imagenet1k": ("val",),
    "imagenet1k-unverified": ("val",),
    "imagenet-real": ("val",),
    "imagenetv2": ("imagenetv2-matched-frequency-format-val", "imagenetv2"),
    "imagenet_sketch": ("sketch", "imagenet_sketch"),
    "imagenet-a": ("imagenet-a",),
    "imagenet-r": ("imagenet-r",),
    "imagenet-o": ("imagenet-o",),
}
SUBSETS = ("imagenet-a", "imagenet-r", "imagenet-o")  # only their own classes may be answered


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which data set, where it lies, and in which words its classes are asked for."""

    name: str
    root: Path
    language: str = "en"
    split: str = "test"
    classes: Path | None = None
    templates: Path | None = None
    download: bool = False


def open_labelled(choice: Choice) -> Labelled:
    """The data set: "folder", one of ImageNet's family, "wds/NAME", or a name that clip_benchmark knows."""
    if not choice.root.exists() and not choice.download:
        raise InvalidInput(f"{choice.root} does not exist; expected the data set {choice.name} there")
    if choice.name in PLACES:
        return _imagenet(choice)
    if choice.name.startswith("wds/"):
        return _webdataset(choice)
    return _folder(choice) if choice.name == FOLDER else _built(choice)


def _imagenet(choice: Choice) -> Labelled:
    """ImageNet, and the sets that share its 1,000 classes or some of them."""
    samples = read_set(_first_place(choice.root, PLACES[choice.name]))
    wnids = tuple(require("clip_benchmark.datasets.builder", "eval").all_imagenet_wordnet_ids)
    subset = choice.name in SUBSETS
    samples = renamed(samples, wnids, str(choice.root), partial=True)
    names = _classes(choice, lambda: packaged_classes(FALLBACK, choice.language), key=FALLBACK)
    if len(names) != len(wnids):
        raise InvalidInput(f"{choice.name} has 1,000 classes, got {len(names)} names")
    templates = _templates(choice, key=FALLBACK)
    if choice.name == "imagenet-real":
        found = real_labels(samples, choice.root / REAL_LABELS, len(names))
        rows = found.labels.tolist()
        listed = [[label for label in row if label >= 0] if isinstance(row, list) else [row] for row in rows]
        return Labelled(Stored(found.samples, listed), names, templates, targets="any")
    if subset:
        kept, labels_N = np.unique(samples.labels_N, return_inverse=True)
        chosen = tuple(names[label] for label in kept)
        return Labelled(Stored(samples, labels_N.tolist()), chosen, templates)
    return Labelled(Stored(samples, samples.labels_N.tolist()), names, templates)


def _folder(choice: Choice) -> Labelled:
    """A folder of class folders, or tars; the classes are called like the folders, _ being a space."""
    samples = read_set(choice.root)
    names = _classes(choice, lambda: tuple(name.replace("_", " ") for name in samples.classes))
    return _stored(samples, names, _templates(choice))


def _webdataset(choice: Choice) -> Labelled:
    """The layout that clip_benchmark's webdatasets have: SPLIT/N.tar, and text files with the names."""
    samples = read_set(choice.root / choice.split)
    named, sentences = choice.root / "classnames.txt", choice.root / "zeroshot_classification_templates.txt"
    names = _classes(choice, lambda: read_classes(named, choice.name))
    own = read_templates(sentences, choice.name) if sentences.is_file() and not choice.templates else None
    return _stored(samples, names, own or _templates(choice))


def _stored(samples: Samples, names: Sequence[str], templates: Templates) -> Labelled:
    if len(names) < len(samples.classes):
        raise InvalidInput(f"the data set has {len(samples.classes)} classes, got {len(names)} names")
    return Labelled(Stored(samples, samples.labels_N.tolist()), tuple(names), templates)


def _built(choice: Choice) -> Labelled:
    """Any other data set, by clip_benchmark's builder; without `download` it only reads what is there."""
    builder = require("clip_benchmark.datasets.builder", "eval")
    try:
        source = builder.build_dataset(
            choice.name,
            root=str(choice.root),
            transform=_unchanged,
            split=choice.split,
            download=choice.download,
            language=package_tag(choice.language),
        )
    except MemoryError:
        raise
    except Exception as error:  # its data sets raise nearly anything, assertions included
        raise InvalidInput(f"clip_benchmark cannot open {choice.name} at {choice.root}: {error}") from error
    names = _classes(choice, lambda: tuple(source.classes))
    templates = read_templates(choice.templates, choice.name) if choice.templates else source.templates
    kind = "each" if choice.name == "voc2007_multilabel" else "class"
    return Labelled(_items_of(source), names, templates, targets=kind)


def _items_of(source: Any) -> Indexed | Listed:
    """The rows of a torch data set; by their paths where it is a folder, so that threads may decode them."""
    samples = getattr(source, "samples", None)
    if not isinstance(samples, list) or not samples or not isinstance(samples[0], tuple):
        return Indexed(source)
    label_of = getattr(source, "label_map", None)  # ObjectNet counts its classes by the names of the folders
    paths = [Path(path) for path, *_ in samples]
    labels = [label_of[path.parent.name] for path in paths] if label_of else [row[1] for row in samples]
    return Listed(paths, labels)


def _classes(
    choice: Choice, otherwise: Callable[[], tuple[str, ...]], *, key: str | None = None
) -> tuple[str, ...]:
    return read_classes(choice.classes, key or choice.name) if choice.classes else otherwise()


def _templates(choice: Choice, *, key: str | None = None) -> Templates:
    name = key or choice.name
    if choice.templates:
        return read_templates(choice.templates, name)
    return packaged_templates(name.removeprefix("wds/"), choice.language)


def _first_place(root: Path, places: Sequence[str]) -> Path:
    return next((root / place for place in places if (root / place).is_dir()), root)


def _unchanged(image: Any) -> Any:
    return image
