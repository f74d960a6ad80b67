"""Image-text pairs for training, read at random: webdataset tars and parquet tables, with texts by group.

A row has an image, a group and texts. Rows of one group are positives of each other; without a `group` every
row is a group of its own. A parquet table has the columns `image` (bytes, or a struct with `bytes` as Hugging
Face writes it), optional `group` and optional `text` or `caption`. A tar has members KEY.jpg|jpeg|png|webp,
KEY.txt and optional KEY.json with `group`. Further texts may come from a table of their own (`group`, `text`,
optional `language`, `name`).
"""

import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InvalidInput, require

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True)
class Pairs:
    """Rows in random access: `read(i)` returns the encoded image; groups_N (int64) index `group_names`."""

    readers: Sequence[Callable[[], bytes]]
    groups_N: np.ndarray
    group_names: tuple[str, ...]
    texts: "GroupTexts"

    def __len__(self) -> int:
        return len(self.readers)

    def read(self, row: int) -> bytes:
        """The encoded image of the row."""
        return self.readers[row]()


class GroupTexts:
    """The texts of each group, drawn at random: by language first, so that each is heard equally often."""

    def __init__(self, rows: Sequence[tuple[int, str, str, bool]], groups: int) -> None:
        """`rows`: (group index, text, language, whether it is the name rather than a keyword)."""
        table: list[dict[str, tuple[list[str], list[str]]]] = [{} for _ in range(groups)]
        for group, text, language, name in rows:
            names, words = table[group].setdefault(language, ([], []))
            (names if name else words).append(text)
        self._table = table
        if empty := sum(not languages for languages in table):
            raise InvalidInput(f"{empty} of {groups} groups of images have no text")

    def draw(
        self, group: int, random: np.random.Generator, name_share: float, languages: frozenset[str] | None
    ) -> str:
        """One text of the group; `languages` limits the choice where the group has any of them."""
        table = self._table[group]
        allowed = [tag for tag in table if languages is None or tag in languages] or list(table)
        names, words = table[allowed[random.integers(len(allowed))]]
        chosen = names if names and (not words or random.random() < name_share) else words
        return chosen[random.integers(len(chosen))]


def load_pairs(sources: Sequence[str], texts: str | None) -> Pairs:
    """Every row of `sources`, with the texts of the table `texts` joined by group."""
    readers: list[Callable[[], bytes]] = []
    names: list[str] = []
    rows: list[tuple[str, str, str, bool]] = []
    for source in sources:
        path = Path(source)
        if not path.is_file():
            raise InvalidInput(
                f"training data {path.name} is not a file; expected a .parquet table or a .tar"
            )
        load = read_parquet if path.suffix == ".parquet" else read_tar
        for key, reader, caption in load(path):
            readers.append(reader)
            names.append(key)
            if caption is not None:
                rows.append((key, caption, "", True))
    if not readers:
        raise InvalidInput(f"no image found in {', '.join(Path(s).name for s in sources)}")
    if texts is not None:
        rows += read_texts(Path(texts))
    group_names = tuple(dict.fromkeys(names))
    index = {name: i for i, name in enumerate(group_names)}
    known = [(index[group], text, language, name) for group, text, language, name in rows if group in index]
    return Pairs(
        readers, np.array([index[n] for n in names]), group_names, GroupTexts(known, len(group_names))
    )


def read_parquet(path: Path) -> list[tuple[str, Callable[[], bytes], str | None]]:
    """(group, reader, caption) of every row; the images stay in the memory-mapped file until read."""
    parquet = require("pyarrow.parquet", "train")
    table = parquet.read_table(path, memory_map=True)
    if "image" not in table.column_names:
        raise InvalidInput(f"{path.name} has columns {table.column_names}; expected 'image'")
    images = table["image"]
    groups = table["group"].to_pylist() if "group" in table.column_names else None
    column = next((c for c in ("text", "caption") if c in table.column_names), None)
    captions = table[column].to_pylist() if column else [None] * len(images)
    return [
        (groups[i] if groups else f"{path.name}:{i}", partial(_cell, images, i), captions[i])
        for i in range(len(images))
    ]


def _cell(images: Any, row: int) -> bytes:
    value = images[row].as_py()
    return bytes(value["bytes"] if isinstance(value, dict) else value)


def read_tar(path: Path) -> list[tuple[str, Callable[[], bytes], str | None]]:
    """(group, reader, caption) of every sample of a webdataset tar.

    Images are read by their place in the file.
    """
    images: dict[str, tuple[int, int]] = {}
    captions: dict[str, str] = {}
    groups: dict[str, str] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.rpartition(".")
                content = tar.extractfile(member) if member.isfile() else None
                if content is None:
                    continue
                if suffix.lower() in IMAGE_SUFFIXES:
                    images[key] = (member.offset_data, member.size)
                elif suffix == "txt":
                    captions[key] = content.read().decode("utf-8").strip()
                elif suffix == "json":
                    groups[key] = str(json.load(content).get("group", key))
    except (tarfile.TarError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput(f"cannot read {path.name} as a webdataset tar: {error}") from error
    return [
        (groups.get(key, f"{path.name}:{key}"), partial(_slice, path, *place), captions.get(key))
        for key, place in images.items()
    ]


def _slice(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def read_texts(path: Path) -> list[tuple[str, str, str, bool]]:
    """(group, text, language, is name) of every row of a table of texts."""
    parquet = require("pyarrow.parquet", "train")
    table = parquet.read_table(path)
    if missing := {"group", "text"} - set(table.column_names):
        raise InvalidInput(
            f"{path.name} has columns {table.column_names}; expected also {', '.join(sorted(missing))}"
        )
    count = len(table)
    languages = table["language"].to_pylist() if "language" in table.column_names else [""] * count
    names = table["name"].to_pylist() if "name" in table.column_names else [True] * count
    return list(zip(table["group"].to_pylist(), table["text"].to_pylist(), languages, names, strict=True))
