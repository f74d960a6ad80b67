"""Folders of vectors that others wrote, found and cut into pieces of a segment's size.

    OUT/img_emb/img_emb_N.npy, OUT/metadata/metadata_N.parquet   clip-retrieval and `polylens embed`
    OUT/*.npy, each perhaps with a .parquet of the same name      plain arrays (N, D)
    OUT/*.parquet with a column of vectors                        also those of `polylens collection export`

`manifest.json`, where there is one, says which model made them. Legend: N rows, D width.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InvalidInput, require
from .segment import Vectors

PIECE_ROWS = 262_144  # a segment of its own: large enough for an index, small enough to lose to a kill
PIECE_BYTES = 512 * 2**20  # of vectors that cannot be mapped
VECTORS = (
    "img_emb",
    "text_emb",
    "vector",
    "embedding",
)  # names of folders and columns, the first found counts
MANIFEST = "manifest.json"
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows `start` to `stop` of the file `path`, and where their metadata are, row for row."""

    path: Path
    start: int
    stop: int
    metadata: Path | None


@dataclass(frozen=True, slots=True)
class Piece:
    """What becomes one segment."""

    name: str  # the same whenever the same files are found
    slices: Sequence[Slice]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(part.stop - part.start for part in self.slices)


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of vectors. `column` is where they are in its parquet files, None if in .npy files."""

    folder: Path
    dim: int
    dtype: str  # float32 or float16
    rows: int
    column: str | None
    manifest: dict[str, Any]
    pieces: Sequence[Piece]


def find(folder: Path, vectors: str | None = None) -> Source:
    """What is in the folder; `vectors` names the folder or column where several could be meant."""
    manifest = _manifest(folder)
    wanted = VECTORS if vectors is None else (vectors,)
    inner = next((folder / name for name in wanted if (folder / name).is_dir()), folder)
    if arrays := sorted(inner.glob("*.npy")):
        return _of_arrays(folder, arrays, manifest)
    if tables := sorted([folder] if folder.is_file() else folder.glob("*.parquet")):
        return _of_tables(folder, tables, wanted, manifest)
    raise InvalidInput(f"{folder} holds no vectors: expected *.npy, {VECTORS[0]}/*.npy or *.parquet")


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not a readable manifest: {error}") from None
    return found if isinstance(found, dict) else {}


def load_array(path: Path) -> Vectors:
    """vectors_ND of an .npy file, read when they are looked at."""
    try:
        array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not a readable .npy file: {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype not in (np.float32, np.float16):
        shape = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise InvalidInput(f"{path} holds {shape}, expected float32 or float16 (N, D)")
    return array


def _of_arrays(folder: Path, paths: Sequence[Path], manifest: dict[str, Any]) -> Source:
    beside = {_number(path): path for path in sorted((folder / "metadata").glob("*.parquet"))}
    slices, kinds = [], set()
    for path in paths:
        if not path.stat().st_size:
            raise InvalidInput(f"{path} is empty: expected an .npy file")
        array = load_array(path)
        kinds.add((array.shape[1], array.dtype.name))
        own = path.with_suffix(".parquet")
        metadata = beside.get(_number(path)) if beside else own if own.is_file() else None
        slices += _cut(path, len(array), PIECE_ROWS, metadata)
    if len(kinds) > 1:
        raise InvalidInput(f"{folder} holds arrays of {sorted(kinds)}, expected one width and dtype")
    ((dim, dtype),) = kinds
    return Source(folder, dim, dtype, _rows(slices), None, manifest, list(_grouped(slices, PIECE_ROWS)))


def _of_tables(
    folder: Path, paths: Sequence[Path], wanted: Sequence[str], manifest: dict[str, Any]
) -> Source:
    parquet: Any = require("pyarrow.parquet", "embed")
    slices: list[Slice] = []
    first = parquet.read_schema(paths[0])
    column = next((name for name in wanted if name in first.names), None)
    if column is None:
        raise InvalidInput(f"{paths[0]} has the columns {first.names}, expected one of {', '.join(wanted)}")
    dim, dtype = _column_kind(paths[0], column)
    limit = min(PIECE_ROWS, max(1, PIECE_BYTES // (4 * dim)))
    for path in paths:
        slices += _cut(path, parquet.ParquetFile(path).metadata.num_rows, limit, path)
    return Source(folder, dim, dtype, _rows(slices), column, manifest, list(_grouped(slices, limit)))


def _column_kind(path: Path, column: str) -> tuple[int, str]:
    """Width and dtype of the vectors in a table."""
    parquet: Any = require("pyarrow.parquet", "embed")
    for batch in parquet.ParquetFile(path).iter_batches(1, columns=[column]):
        value = batch.column(0)[0].as_py()
        narrow = str(batch.column(0).type.value_type) == "halffloat"
        return len(value), "float16" if narrow else "float32"
    raise InvalidInput(f"{path} has no rows")


def _cut(path: Path, count: int, limit: int, metadata: Path | None) -> list[Slice]:
    starts = range(0, count, limit)
    return [Slice(path, start, min(start + limit, count), metadata) for start in starts]


def _grouped(slices: Sequence[Slice], limit: int) -> Iterator[Piece]:
    """Consecutive slices together, up to the limit."""
    group: list[Slice] = []
    for one in (*slices, None):
        if group and (one is None or _rows(group) + one.stop - one.start > limit):
            yield Piece(f"{group[0].path.name}:{group[0].start}", tuple(group))
            group = []
        if one is not None:
            group.append(one)


def _rows(slices: Sequence[Slice]) -> int:
    return sum(one.stop - one.start for one in slices)


def _number(path: Path) -> int | None:
    found = _NUMBER.search(path.stem)
    return int(found[1]) if found else None
