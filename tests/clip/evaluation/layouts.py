"""Tiny data sets in every published layout of pictures: each writer says what it wrote where."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": "#dd2e44", "blue": "#55acee", "green": "#78b159", "yellow": "#fdcb58", "purple": "#aa8ed6"}
SHAPES = ("circle", "square")
# The colours in the order above, the shapes, and a sentence with both, in several languages.
WORDS = {
    "en": ("red blue green yellow purple", " circle, square", "a drawing of a {}, on white"),
    "zh": ("红色 蓝色 绿色 黄色 紫色", "圆形,方块", "一幅画,白色背景上的{}"),
    "ja": ("赤い 青い 緑の 黄色い 紫の", "丸,四角", "白地に{}の絵"),
    "ko": ("빨간색 파란색 초록색 노란색 보라색", " 원, 사각형", "흰 바탕에 {} 그림"),
}
Written = dict[Path, list[str]]  # each picture and its captions


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

    def encoded(self, what: str, seed: int) -> bytes:
        file = io.BytesIO()
        self.picture(what, seed).save(file, "PNG")
        return file.getvalue()

    def class_folders(self, root: Path, folders: Mapping[str, str], images: int = 4) -> None:
        """root/FOLDER/*.JPEG for each folder -> what its pictures show; numbered like ImageNet's."""
        number = 0
        for folder, what in folders.items():
            for _ in range(images):
                number += 1
                self.save(root / folder / imagenet_name(number), what, number)

    def objectnet(self, root: Path, labels: Mapping[str, str]) -> None:
        """The files of ObjectNet's mappings: folder -> the label that it and ImageNet's list have."""
        for file, content in (
            ("folder_to_objectnet_label.json", labels),
            ("objectnet_to_imagenet_1k.json", {label: label.lower() for label in labels.values()}),
            ("pytorch_to_imagenet_2012_id.json", {str(7 * row): row for row in range(len(labels))}),
        ):
            (root / file).write_text(json.dumps(content))
        names = "".join(f"{label.lower()}\n" for label in labels.values())
        (root / "imagenet_to_label_2012_v2").write_text(names)

    def captions(self, root: Path, place: str = "", language: str = "en", *, number: int = 2) -> Written:
        """Pictures below root/place, and so many captions for each."""
        colours, shapes, sentence = WORDS[language]
        names = [colour + shape for colour in colours.split() for shape in shapes.split(",")]
        found = {}
        for row, (what, name) in enumerate(zip(self.classes, names, strict=True)):
            path = root / place / f"{row:012d}.jpg"
            self.save(path, what, row)
            found[path] = [name, sentence.format(name)][:number]
        return found

    def coco(
        self, root: Path, file: str, place: str, language: str = "en", *, path_in_names: bool = False
    ) -> Written:
        """COCO's JSON; the pictures stand in another order than their numbers."""
        written = self.captions(root, place, language)
        prefix = f"{place}/" if path_in_names else ""
        images = [{"id": int(path.stem), "file_name": prefix + path.name} for path in reversed(written)]
        every = [(path, text) for path, texts in written.items() for text in texts]
        annotations = [
            {"id": number, "image_id": int(path.stem), "caption": text}
            for number, (path, text) in enumerate(every)
        ]
        (root / file).write_text(json.dumps({"images": images, "annotations": annotations}), "utf-8")
        return written

    def flickr(self, root: Path, file: str, language: str = "en") -> Written:
        """Flickr's text file in the form that clip_benchmark reads, with a heading and commas in captions."""
        written = self.captions(root, language=language)
        lines = [f"{path.name},{text}" for path, texts in written.items() for text in texts]
        (root / file).write_text("\n".join(["image,caption", *lines]) + "\n", "utf-8")
        return written

    def xtd(self, root: Path, files: Mapping[str, str]) -> dict[str, Written]:
        """XTD's text files, file -> language: the names of the pictures, and a caption of each in each."""
        written = {}
        for file, language in files.items():
            written[language] = self.captions(root, "val2014", language, number=1)
            (root / file).write_text("".join(f"{text}\n" for (text,) in written[language].values()), "utf-8")
        names = "".join(f"{row:012d}.jpg\n" for row in range(len(self.classes)))
        (root / "test_image_names.txt").write_text(names)
        return written

    def xtd_json(self, root: Path, file: str, language: str) -> Written:
        """XTD as clip_benchmark writes it down."""
        written = self.captions(root, "train2014", language, number=1)
        texts = [text for (text,) in written.values()]
        content = {"image_paths": [f"train2014/{path.name}" for path in written], "annotations": texts}
        (root / file).write_text(json.dumps(content), "utf-8")
        return written

    def mapping(self, root: Path) -> Written:
        """A folder with captions.json: NAME.jpg -> captions."""
        written = self.captions(root)
        (root / "captions.json").write_text(json.dumps({path.name: own for path, own in written.items()}))
        return written

    def texts(self, root: Path) -> Written:
        """NAME.txt beside each NAME.jpg."""
        written = self.captions(root)
        for path, own in written.items():
            path.with_suffix(".txt").write_text("\n".join(own))
        return written

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

    def caption_tars(self, root: Path) -> Written:
        """Tars of pictures with their captions."""
        written = self.captions(root / "loose")
        samples = [
            {"jpg": path.read_bytes(), "txt": "\n".join(own).encode()} for path, own in written.items()
        ]
        self.tars(root / "test", samples)
        return written


def imagenet_name(number: int) -> str:
    """What ImageNet calls the validation image of that number, from 1."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"
