"""The file of a sealed segment's rows: written once, verified at opening, then mapped into memory.

Legend: N rows, D width.

    offset 0    magic, format, dtype, width, number of rows, longest norm; zeros up to 64
    offset 64   N row ids, int64; zeros up to a multiple of 64
    then        N vectors of the collection's dtype

All little-endian. Size and CRC-32 of the file stand in the segment's row of the manifest. A FAISS index over
the same rows, in the same order, may lie beside it, with its own size and CRC.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CorruptCollection
from .faiss_index import FaissIndex, read
from .files import Files, Output

FOLDER = "segments"
BUILD = "build"  # the folder of a build in parts; see parted.py
TEMPORARY = ".tmp"
MAGIC = b"PLENROWS"
VERSION = 1
ALIGN = 64
_HEADER = struct.Struct("<8sI4sQQd")


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size and CRC-32 of a file."""

    size: int
    crc: int


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """Which files a segment came from, its index if it has one, and what its search was tuned to."""

    segment_id: int
    factory: str
    rows: Stamp
    index_file: Stamp
    parameters: Mapping[str, int]
    index: FaissIndex | None
    sole: bool = False  # no other file has all of its vectors: it is no copy of what the database holds


@dataclass(frozen=True, slots=True, eq=False)
class RowsFile:
    """What a mapped file of rows holds."""

    row_ids_N: NDArray[np.int64]
    vectors_ND: NDArray[np.floating[Any]]
    max_norm: float


def rows_path(folder: Path, segment_id: int) -> Path:
    """The file of a segment's rows."""
    return folder / FOLDER / f"{segment_id}.rows"


def index_path(folder: Path, segment_id: int) -> Path:
    """The file of a segment's FAISS index."""
    return folder / FOLDER / f"{segment_id}.faiss"


def rows_size(count: int, dim: int, dtype: np.dtype[np.floating[Any]]) -> int:
    """The size of the file in bytes."""
    return _vectors_offset(count) + count * dim * dtype.itemsize


def _vectors_offset(count: int) -> int:
    return -(-(ALIGN + 8 * count) // ALIGN) * ALIGN


class _Checked:
    """An output that keeps count and checksum."""

    def __init__(self, output: Output) -> None:
        self._output, self.stamp = output, Stamp(0, 0)

    def put(self, data: bytes) -> None:
        self._output.write(data)
        self.stamp = Stamp(self.stamp.size + len(data), zlib.crc32(data, self.stamp.crc))


def write_file(files: Files, path: Path, fill: Callable[[Callable[[bytes], None]], None]) -> Stamp:
    """Size and checksum of the file that `fill` wrote through the function it got, once it is durable."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with files.create(temporary) as output:
            checked = _Checked(output)
            fill(checked.put)
            output.sync()
        files.publish(temporary, path)
    except BaseException:
        files.unlink(temporary)
        raise
    return checked.stamp


def fill_rows(
    put: Callable[[bytes], None],
    row_ids_N: NDArray[np.int64],
    blocks: Iterable[NDArray[np.floating[Any]]],
    dim: int,
    dtype: np.dtype[np.floating[Any]],
    max_norm: float,
) -> None:
    """Writes the content of a file of rows; the blocks hold the vectors in the order of the row ids."""
    count = len(row_ids_N)
    header = _HEADER.pack(MAGIC, VERSION, dtype.str.encode(), dim, count, max_norm)
    put(header.ljust(ALIGN, b"\0"))
    put(row_ids_N.astype("<i8").tobytes())
    put(bytes(_vectors_offset(count) - ALIGN - 8 * count))
    for block in blocks:
        put(block.astype(dtype, copy=False).tobytes())


def verify(files: Files, path: Path, stamp: Stamp) -> None:
    """Raises `CorruptCollection` unless the file has this size and checksum."""
    size = crc = 0
    for block in files.read_blocks(path):
        size, crc = size + len(block), zlib.crc32(block, crc)
    if size != stamp.size:
        raise CorruptCollection(f"{path} has {size} bytes, expected {stamp.size}")
    if crc != stamp.crc:
        raise CorruptCollection(f"{path} has checksum {crc:08x}, expected {stamp.crc:08x}")


def map_rows(files: Files, path: Path, count: int, dim: int, dtype: np.dtype[np.floating[Any]]) -> RowsFile:
    """The rows of a verified file, which stay readable if the file is unlinked."""
    memory = files.map(path)
    if len(memory) != rows_size(count, dim, dtype):
        raise CorruptCollection(f"{path} has {len(memory)} bytes, expected {rows_size(count, dim, dtype)}")
    magic, version, kind, width, rows, max_norm = _HEADER.unpack_from(memory)
    if (magic, version, kind.rstrip(b"\0"), width, rows) != (MAGIC, VERSION, dtype.str.encode(), dim, count):
        raise CorruptCollection(f"{path} is not of {count} vectors of width {dim} and dtype {dtype}")
    row_ids = np.frombuffer(memory, "<i8", count, ALIGN)
    vectors = np.frombuffer(memory, dtype, count * dim, _vectors_offset(count)).reshape(count, dim)
    return RowsFile(row_ids, vectors, max_norm)


def read_index(files: Files, path: Path, stamp: Stamp, count: int) -> FaissIndex:
    """The index of a verified file."""
    with files.map(path) as memory:
        index = read(memory, stamp.size)
    if len(index) != count:
        raise CorruptCollection(f"{path} holds {len(index)} rows, expected {count}")
    return index
