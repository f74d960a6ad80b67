"""Labelled images in random access: files under a folder, or members of webdataset tars.

N counts images. What is held per image is its place and its label, never its bytes.
"""

import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...errors import InvalidInput
from ..errors import InvalidImage, some
from ..images import open_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
Labels = npt.NDArray[np.int64]


class Store(Protocol):
    """Where encoded images lie."""

    def name(self, place: int) -> str: ...
    def read(self, place: int) -> bytes: ...


@dataclass(frozen=True)
class Files:
    """Image files under one folder."""

    folder: Path
    names: Sequence[str]  # relative to the folder

    def name(self, place: int) -> str:
        """The file's path below the folder."""
        return self.names[place]

    def read(self, place: int) -> bytes:
        """The encoded image."""
        return (self.folder / self.names[place]).read_bytes()


@dataclass(frozen=True)
class Members:
    """Image members of plain tars, read by their place in the file."""

    tars: Sequence[Path]
    keys: Sequence[str]
    places_N3: Labels  # number of the tar, offset, size

    def name(self, place: int) -> str:
        """The tar's name and the sample's key."""
        return f"{self.tars[self.places_N3[place, 0]].name}:{self.keys[place]}"

    def read(self, place: int) -> bytes:
        """The encoded image."""
        tar, offset, size = (int(value) for value in self.places_N3[place])
        with self.tars[tar].open("rb") as file:
            file.seek(offset)
            return file.read(size)


@dataclass(frozen=True)
class Samples:
    """Images with one class each; `classes` are their names in the order of the labels."""

    store: Store
    places_N: Labels
    labels_N: Labels
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.places_N)

    def name(self, row: int) -> str:
        """Where the image lies, for messages."""
        return self.store.name(int(self.places_N[row]))

    def image(self, row: int) -> Image.Image:
        """The decoded image, or `InvalidImage` that names its file."""
        place = int(self.places_N[row])
        try:
            return open_image(self.store.read(place))
        except (InvalidImage, OSError) as error:
            raise InvalidImage(f"{self.store.name(place)}: {error}") from error

    def select(self, rows: Labels) -> "Samples":
        """These rows alone, in this order; the classes stay."""
        return replace(self, places_N=self.places_N[rows], labels_N=self.labels_N[rows])

    def fingerprint(self) -> str:
        """64 hexadecimal digits over names, labels and classes, in order; the pixels are not read."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        for row in range(len(self)):
            digest.update(f"{self.name(row)}\0{self.labels_N[row]}\n".encode())
        return digest.hexdigest()


def read_folder(folder: Path) -> Samples:
    """The images of a folder of class folders; classes and images in the order of their names."""
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder of class folders")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if not classes:
        raise InvalidInput(f"{folder} holds no class folders; expected {folder.name}/CLASS/IMAGE.jpg")
    names: list[str] = []
    labels: list[int] = []
    empty = []
    for label, name in enumerate(classes):
        found = sorted(
            str(path.relative_to(folder))
            for path in (folder / name).rglob("*")
            if path.suffix.lower() in SUFFIXES and path.name[0] != "."
        )
        names += found
        labels += [label] * len(found)
        if not found:
            empty.append(name)
    if empty:
        raise InvalidInput(f"{folder}: classes without an image ({len(empty)}): {some(empty)}")
    return Samples(Files(folder, names), np.arange(len(names)), np.array(labels, np.int64), tuple(classes))


def read_tars(tars: Sequence[Path]) -> Samples:
    """The images of webdataset tars: KEY.jpg with KEY.cls, a class number or a name.

    Numbers are named by the lines of a `classes.txt` beside the tars, else by themselves.
    """
    keys: list[str] = []
    places: list[tuple[int, int, int]] = []
    told: list[str] = []
    for number, path in enumerate(tars):
        images, classes = members(path)
        if lost := sorted(images.keys() ^ classes.keys()):
            raise InvalidInput(f"{path.name}: samples without an image or without .cls: {some(lost)}")
        for key, (offset, size) in images.items():
            keys.append(key)
            places.append((number, offset, size))
            told.append(classes[key])
    if not keys:
        raise InvalidInput(f"no sample (KEY.jpg with KEY.cls) in {some([path.name for path in tars])}")
    names, labels = numbered(told, tars[0].parent / "classes.txt")
    return Samples(
        Members(tuple(tars), keys, np.array(places, np.int64)), np.arange(len(keys)), labels, names
    )


def members(path: Path) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Key -> (offset, size) of the images, and key -> content of the .cls members."""
    images: dict[str, tuple[int, int]] = {}
    classes: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                key, _, suffix = base.partition(".")
                key = f"{folder}/{key}" if folder else key
                if not member.isfile():
                    continue
                if f".{suffix.lower()}" in SUFFIXES:
                    images[key] = (member.offset_data, member.size)
                elif suffix in ("cls", "cls.txt") and (content := tar.extractfile(member)) is not None:
                    classes[key] = content.read(1000).decode("utf-8").strip()
    except (OSError, tarfile.TarError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path.name} as a webdataset tar: {error}") from error
    return images, classes


def numbered(told: Sequence[str], names_file: Path) -> tuple[tuple[str, ...], Labels]:
    """The classes' names in order, and each sample's label, from what the .cls members say."""
    if not all(text.isdecimal() for text in told):
        names = tuple(sorted(set(told)))
        index = {name: label for label, name in enumerate(names)}
        return names, np.array([index[text] for text in told], np.int64)
    labels = np.array([int(text) for text in told], np.int64)
    count = int(labels.max()) + 1
    if not names_file.is_file():
        return tuple(str(label) for label in range(count)), labels
    names = tuple(line.strip() for line in names_file.read_text("utf-8").splitlines() if line.strip())
    if count > len(names):
        raise InvalidInput(f"{names_file.name} names {len(names)} classes, but .cls says {count - 1}")
    return names, labels
