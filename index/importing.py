"""A folder of vectors becomes a collection's segments, piece by piece; a broken-off import goes on.

Legend: N rows, D width.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InvalidInput, require
from . import validation
from .bulk import Bulk, Stack
from .collection import Collection
from .faiss_build import Steps
from .segment import Vectors
from .source import Piece, Slice, Source, load_array

IDS = ("id", "key", "image_path", "url")  # columns that name rows, the first found counts
JSON_COLUMN = "metadata"  # of what `polylens collection export` wrote
EXPORTED = "polylens collection export"
Pieces = Callable[[str, int, int], None]  # a piece's name, rows done, rows of all


@dataclass(frozen=True, slots=True)
class Imported:
    """Rows of the source, those stored now, and those that were stored before."""

    rows: int
    stored: int
    earlier: int


def import_source(
    collection: Collection,
    source: Source,
    *,
    id_column: str | None = None,
    normalize: bool = False,
    check: bool = True,
    progress: Pieces,
    steps: Steps,
) -> Imported:
    """What was imported. With `check` files are compared with the checksums of the source's manifest."""
    stored = earlier = done = 0
    for piece in source.pieces:
        if check:
            _check(source, piece)
        new = collection.adopt(bulk(source, piece, id_column, normalize), steps)
        stored, earlier = stored + new, earlier + (0 if new else piece.rows)
        done += piece.rows
        progress(piece.name, done, source.rows)
    return Imported(source.rows, stored, earlier)


def bulk(source: Source, piece: Piece, id_column: str | None, normalize: bool) -> Bulk:
    """The rows of a piece, with ids and metadata checked."""
    ids: list[str] = []
    texts: list[str] = []
    arrays: list[Vectors] = []
    exported = source.manifest.get("made_by") == EXPORTED
    for part in piece.slices:
        columns = {} if part.metadata is None else _columns(part, source.column)
        names = _names(part, columns, id_column)
        count = part.stop - part.start
        for start in range(0, count, validation.MAX_ROWS):
            rows = slice(start, min(start + validation.MAX_ROWS, count))
            ids += validation.item_ids(names[rows])
            if exported:
                texts += columns[JSON_COLUMN][rows]
            else:
                texts += validation.metadata_texts(_objects(columns, rows), rows.stop - rows.start)
        arrays.append(_vectors(part, source.column))
    name = f"{source.folder.name}/{piece.name}"
    return Bulk(name, ids, texts, Stack(arrays), normalize)


def _vectors(part: Slice, column: str | None) -> Vectors:
    if column is None:
        return load_array(part.path)[part.start : part.stop]
    table = _table(part, [column]).column(column).combine_chunks()
    flat = table.flatten().to_numpy(zero_copy_only=False)
    if len(flat) % (part.stop - part.start):
        raise InvalidInput(f"{part.path} has vectors of several widths in {column!r}")
    found: Vectors = flat.reshape(part.stop - part.start, -1)
    return found if found.dtype in (np.float16, np.float32) else found.astype(np.float32)


def _columns(part: Slice, vectors: str | None) -> dict[str, list[Any]]:
    """The columns of the metadata but for vectors, as Python values."""
    schema = _open(part).schema_arrow
    kinds = zip(schema.names, map(str, schema.types), strict=True)
    wanted = [name for name, kind in kinds if name != vectors and not kind.startswith("fixed_size_list<")]
    table = _table(part, wanted)
    return {name: table.column(name).to_pylist() for name in wanted}


def _open(part: Slice) -> Any:
    parquet: Any = require("pyarrow.parquet", "embed")
    path = part.metadata or part.path
    try:
        file = parquet.ParquetFile(path)
    except Exception as error:  # OSError, and pyarrow's own
        raise InvalidInput(f"{path} is not a readable parquet file: {error}") from None
    if file.metadata.num_rows < part.stop:
        raise InvalidInput(f"{path} has {file.metadata.num_rows} rows, {part.path} at least {part.stop}")
    return file


def _table(part: Slice, columns: Sequence[str]) -> Any:
    """Those rows of the parquet file, read by the row groups that have them."""
    file = _open(part)
    begin = first = 0
    groups: list[int] = []
    for number in range(file.metadata.num_row_groups):
        end = begin + file.metadata.row_group(number).num_rows
        if begin < part.stop and part.start < end:
            first = begin if not groups else first
            groups.append(number)
        begin = end
    return file.read_row_groups(groups, columns=columns).slice(part.start - first, part.stop - part.start)


def _names(part: Slice, columns: Mapping[str, list[Any]], asked: str | None) -> list[Any]:
    """The ids: of the column asked for, else of the first usual one, else the file's name and the row."""
    if asked is not None and asked not in columns:
        raise InvalidInput(f"there is no column {asked!r} beside {part.path}; there are {sorted(columns)}")
    for column in (asked,) if asked is not None else IDS:
        names = columns.get(column)
        if names is not None and (asked is not None or all(isinstance(name, str) and name for name in names)):
            return names
    return [f"{part.path.stem}:{row}" for row in range(part.start, part.stop)]


def _objects(columns: Mapping[str, list[Any]], rows: slice) -> list[dict[str, Any]]:
    """A JSON object for each row, without what is not there; what JSON does not have becomes text."""
    chosen = {name: values[rows] for name, values in columns.items()}
    return [
        {name: _plain(values[row]) for name, values in chosen.items() if not _absent(values[row])}
        for row in range(rows.stop - rows.start)
    ]


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value if not _absent(item)]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if not _absent(item)}
    return str(value)


def _check(source: Source, piece: Piece) -> None:
    """Refuses a file that is not the one of the manifest."""
    known = {
        name: file for shard in source.manifest.get("shards", ()) for name, file in shard["files"].items()
    }
    for path in {path for part in piece.slices for path in (part.path, part.metadata) if path}:
        expected = known.get(str(path.relative_to(source.folder))) if source.folder.is_dir() else None
        if expected is not None and (got := _digest(path)) != expected["sha256"]:
            raise InvalidInput(f"{path} has the SHA-256 {got}, its manifest says {expected['sha256']}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
