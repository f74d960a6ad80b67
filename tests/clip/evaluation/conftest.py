"""Tiny data sets in every published layout, drawn and written as the tests ask for them."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polylens
import pytest
from PIL import Image, ImageDraw

COLOURS = {"red": "#dd2e44", "blue": "#55acee", "green": "#78b159", "yellow": "#fdcb58", "purple": "#aa8ed6"}
SHAPES = ("circle", "square")


class Layouts:
    """Writes pictures of coloured shapes, which the model `mini` knows by name, and what describes them."""

    classes = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]

    def picture(self, what: str, seed: int, *, noise: int = 60) -> Image.Image:
        """A shape somewhere on white, under noise."""
        colour, shape = what.split()
        random = np.random.default_rng(seed)
        size, left, top = (int(value) for value in random.integers((30, 2, 2), (50, 30, 30)))
        image = Image.new("RGB", (96, 84), "white")
        box = (left, top, left + size, top + size)
        draw = ImageDraw.Draw(image)
        (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=COLOURS[colour])
        spread = random.integers(-noise, noise + 1, (84, 96, 3))
        return Image.fromarray((np.asarray(image) + spread).clip(0, 255).astype(np.uint8))

    def save(self, path: Path, what: str, seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.picture(what, seed).save(path, "PNG" if path.suffix == ".png" else "JPEG")

    def class_folders(self, root: Path, folders: Mapping[str, str], images: int = 4) -> None:
        """root/FOLDER/*.JPEG for each folder -> what its pictures show; numbered like ImageNet's."""
        number = 0
        for folder, what in folders.items():
            for _ in range(images):
                number += 1
                self.save(root / folder / f"ILSVRC2012_val_{number:08d}.JPEG", what, number)

    def captions(self, root: Path, place: str = "") -> dict[str, list[str]]:
        """Pictures below root/place, and two captions for each: NAME.jpg -> captions."""
        found = {}
        for number, what in enumerate(self.classes):
            name = f"{number:012d}.jpg"
            self.save(root / place / name, what, number)
            found[name] = [what, f"a drawing of a {what}, on white"]
        return found

    def coco(self, root: Path, file: str, place: str, *, path_in_names: bool = False) -> None:
        """COCO's JSON; the pictures stand in another order than their numbers."""
        captions = self.captions(root, place)
        prefix = f"{place}/" if path_in_names else ""
        images = [{"id": int(name[:12]), "file_name": prefix + name} for name in reversed(captions)]
        annotations = [
            {"id": number, "image_id": int(name[:12]), "caption": text}
            for number, (name, text) in enumerate((n, t) for n, texts in captions.items() for t in texts)
        ]
        (root / file).write_text(json.dumps({"images": images, "annotations": annotations}), "utf-8")

    def flickr(self, root: Path, file: str) -> None:
        """Flickr's text file in the form that clip_benchmark reads, with a heading and commas in captions."""
        lines = [f"{name},{text}" for name, texts in self.captions(root).items() for text in texts]
        (root / file).write_text("\n".join(["image,caption", *lines]) + "\n", "utf-8")

    def xtd(self, root: Path, languages: Sequence[str]) -> None:
        """XTD's text files: the names of the pictures, and a caption for each in every language."""
        captions = self.captions(root, "val2014")
        (root / "test_image_names.txt").write_text("\n".join(captions) + "\n", "utf-8")
        for language in languages:
            texts = "\n".join(f"{texts[0]}" for texts in captions.values())
            (root / f"test_1kcaptions_{language}.txt").write_text(texts + "\n", "utf-8")

    def tars(self, folder: Path, members: Sequence[Mapping[str, bytes]]) -> None:
        """webdataset tars 0.tar, 1.tar, ... of samples: suffix -> content."""
        folder.mkdir(parents=True, exist_ok=True)
        half = -(-len(members) // 2)
        for number, part in enumerate((members[:half], members[half:])):
            with tarfile.open(folder / f"{number}.tar", "w") as tar:
                for row, sample in enumerate(part):
                    for suffix, content in sample.items():
                        info = tarfile.TarInfo(f"s{number * half + row:07d}.{suffix}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
        (folder / "nshards.txt").write_text("2")

    def encoded(self, what: str, seed: int) -> bytes:
        file = io.BytesIO()
        self.picture(what, seed).save(file, "PNG")
        return file.getvalue()


@pytest.fixture(scope="session")
def layouts() -> Layouts:
    return Layouts()


@pytest.fixture(scope="session")
def mini() -> polylens.Encoder:
    """The model inside the package, with the preprocessing of classification."""
    return polylens.load("mini", device="cpu", preprocess="classification")
