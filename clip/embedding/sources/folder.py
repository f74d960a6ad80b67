"""A folder of pictures at any depth, with captions (.txt) and further columns (.json) beside them."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice

from ....backbone.images import SUFFIXES
from ..errors import BadSource
from ..locations import is_url, joined, walk
from ..samples import At, Reject, Sample
from ..settings import Part, Settings

OTHER_PICTURES = {".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif", ".jp2", ".ico", ".svg"}


def parts(sources: Sequence[str], settings: Settings) -> Iterator[Part]:
    """Units of so many files. A folder that is listed is in memory as a whole, the tree is not."""
    (root,) = sources
    if not is_url(root) and not os.path.isdir(root):
        raise BadSource(f"{root} is not a folder")
    entries = (entry for below, names in walk(root) for entry in _entries(below, names))
    while group := list(islice(entries, settings.unit_size)):
        yield Part({"folder": root, "entries": group}, len(group))


def _entries(below: str, names: list[str]) -> Iterator[list[str]]:
    """[picture, caption, columns] of each picture, "" for what is not there; of a lone text its own name."""
    there = set(names)
    pictures = [name for name in names if _suffix(name) in SUFFIXES | OTHER_PICTURES]
    used: set[str] = set()
    for name in pictures:
        stem = name[: -len(_suffix(name))]
        beside = [stem + suffix if stem + suffix in there else "" for suffix in (".txt", ".json")]
        used.update((name, *beside))
        yield [below + name, *(found and below + found for found in beside)]
    for name in names:
        if name not in used:
            yield ["" if name.endswith(".txt") else below + name, below + name, ""]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def read(part: Part, settings: Settings) -> Iterator[Sample | Reject]:
    """The samples of a unit; a file that is neither picture nor caption is refused."""
    root = part.where["folder"]
    for image, text, about in part.where["entries"]:
        id = printable(image or text)
        if image == text:
            yield Reject(id, "is neither a picture nor a caption, by its name")
            continue
        yield Sample(
            id,
            At(joined(root, image)) if image else None,
            At(joined(root, text)) if text else None,
            id,
            At(joined(root, about)) if about else {},
        )


def printable(name: str) -> str:
    """The name, with bytes that are no UTF-8 written as `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
