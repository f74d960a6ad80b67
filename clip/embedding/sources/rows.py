"""From a row of a table, whatever its file, to a sample."""

import base64
import binascii
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadSource
from ..locations import is_url, joined
from ..samples import At, Reject, Sample
from ..settings import Settings

# The usual names, the likeliest first: those of Hugging Face data sets, of img2dataset and of metadata.csv.
BYTES = ("image", "jpg", "png", "webp", "image_bytes", "bytes", "image_base64")
IMAGES = (*BYTES, "image_path", "file_name", "path")
CAPTIONS = ("caption", "text", "txt", "captions", "title")


@dataclass(frozen=True)
class Columns:
    """The columns that hold the picture and the text; None where there are none."""

    image: str | None
    caption: str | None

    @classmethod
    def found(cls, names: Iterable[str], settings: Settings) -> "Columns":
        """The columns that the settings name, or those that have a usual name."""
        image = settings.image_column or next((name for name in IMAGES if name in names), None)
        caption = settings.caption_column or next((name for name in CAPTIONS if name in names), None)
        return cls(image, caption)

    def check(self, names: Iterable[str], table: str, settings: Settings) -> None:
        """Nothing, or `BadSource` if a table lacks a column that is needed."""
        there = list(names)
        for needed, name, option in (
            (settings.images, self.image, "--image-column"),
            (settings.texts, self.caption, "--caption-column"),
        ):
            if needed and (name is None or name not in there):
                wanted = f"no column {name!r}" if name else "no column of a usual name"
                raise BadSource(f"{table} has {wanted}, only {', '.join(there)}: choose with {option}")


def sample_of(id: str, row: Mapping[str, Any], columns: Columns, table: str) -> Sample | Reject:
    """The sample of a row; paths are relative to the folder of the table."""
    about = {name: value for name, value in row.items() if name not in (columns.image, columns.caption)}
    text = row.get(columns.caption) if columns.caption else None
    if text is not None and not isinstance(text, str):
        return Reject(id, f"the column {columns.caption} holds {type(text).__name__}, expected text")
    cell = row.get(columns.image) if columns.image else None
    path = cell.get("path") if isinstance(cell, Mapping) else cell
    try:
        image = _image(cell, columns.image or "", table)
    except ValueError as error:
        return Reject(id, str(error))
    return Sample(id, image, text, path if isinstance(path, str) and isinstance(image, At) else id, about)


def _image(cell: object, column: str, table: str) -> bytes | At | None:
    """The bytes of a cell, or the file that it names; ValueError with what is wrong with it."""
    if isinstance(cell, Mapping):  # as Hugging Face writes pictures
        inner = cell.get("bytes")
        return _image(cell.get("path") if inner is None else inner, "bytes" if inner else column, table)
    if cell is None or isinstance(cell, bytes):
        return cell
    if not isinstance(cell, str):
        raise ValueError(f"the column {column} holds {type(cell).__name__}, expected bytes or a path")
    if "base64" in column or column == "bytes":
        try:
            return base64.b64decode(cell, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the column {column} is not base64: {error}") from error
    if is_url(cell):
        raise ValueError("the picture is a URL, which is not fetched; img2dataset downloads such tables")
    return At(cell if os.path.isabs(cell) else joined(_folder(table), cell))


def _folder(table: str) -> str:
    """The folder of a table's location."""
    head, link, rest = table.partition("::")
    return f"{head.rpartition('/')[0] or '.'}{link}{rest}"
