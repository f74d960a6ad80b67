"""Whole files of rows at once: their vectors are written one time, as a sealed segment, and not into SQLite.

First row ids are set aside. Then the file is written, synced and renamed while everybody reads and writes on.
Last, in one turn of the writer, one transaction brings ids and metadata, what they replace, the segment, and
the note that this part was imported. A crash before it leaves unused row ids and a file that the next opening
removes; the part is then imported again. Such a segment is marked `sole`: it is no copy, so it is never set
aside, a merge passes the mark on, and snapshots always carry it.

Legend: N rows, D width.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import apsw
import numpy as np
from numpy.typing import NDArray

from ..errors import PolylensError
from . import manifest, sealed, validation
from .changes import mark, set_aside
from .database import reported
from .errors import DimensionMismatch, StorageFailed
from .faiss_build import Steps
from .faiss_index import EXACT
from .schema import Identity
from .sealed import Sealed
from .sealing import NO_FILE, Sealing, counted
from .segment import Segment, Vectors, largest_norm

BLOCK = 8_192  # rows in memory at a time
MAX_ROWS = 2_000_000  # of one part: ids and metadata are in memory


class Stack:
    """Arrays one below the other, of one width and dtype, without a copy: they may be mapped from files."""

    def __init__(self, arrays: Sequence[Vectors]) -> None:
        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])
        self.shape = (int(self._ends[-1]), arrays[0].shape[1])
        self.dtype = arrays[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows_K: NDArray[np.int64]) -> Vectors:
        """The vectors (K, D) of these rows, copied."""
        owners_K = np.searchsorted(self._ends, rows_K, side="right")
        found = np.empty((len(rows_K), self.shape[1]), self.dtype)
        for owner in np.unique(owners_K).tolist():
            chosen = owners_K == owner
            begin = self._ends[owner] - len(self._arrays[owner])
            found[chosen] = self._arrays[owner][rows_K[chosen] - begin]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Bulk:
    """Rows to import: checked ids and metadata (JSON texts), and vectors (N, D), perhaps mapped from a file.

    `name` says which part of what it is: one with the same name and vectors is not imported again.
    """

    name: str
    ids: Sequence[str]
    metadata: Sequence[str]
    vectors_ND: "Vectors | Stack"
    normalize: bool = False

    def digest(self) -> bytes:
        """BLAKE2b (32 bytes) of the vectors and of what is done to them."""
        about = repr((self.normalize, self.vectors_ND.shape, str(self.vectors_ND.dtype)))
        hashed = hashlib.blake2b(about.encode(), digest_size=32)
        for start in range(0, len(self.vectors_ND), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(self.vectors_ND)))
            hashed.update(self.vectors_ND[rows].tobytes())
        return hashed.digest()

    def blocks(self, identity: Identity, rows_K: NDArray[np.int64]) -> Iterator[Vectors]:
        """The vectors of these rows as they are stored; `InvalidVector` for what does not belong here."""
        for start in range(0, len(rows_K), BLOCK):
            yield validation.vectors(
                self.vectors_ND[rows_K[start : start + BLOCK]],
                dim=identity.dim,
                limit=BLOCK,
                normalize=self.normalize,
                metric=identity.metric,
            ).astype(identity.storage, copy=False)


def store(sealing: Sealing, part: Bulk, progress: Steps) -> int:
    """The number of items stored; 0 if the part was imported before."""
    if len(part.vectors_ND) != len(part.ids):
        raise DimensionMismatch(f"{len(part.vectors_ND)} vectors for {len(part.ids)} ids")
    validation.whole("number of rows", len(part.ids), 0, MAX_ROWS)
    database, digest = sealing.place.database, part.digest()
    with reported(database.path), database.reader() as connection:
        earlier = manifest.imported(connection, part.name)
    if not part.ids or earlier is not None and earlier[0] == digest:
        return 0
    # Where an id comes twice the later row wins.
    rows_K = np.array(sorted({id: row for row, id in enumerate(part.ids)}.values()), np.int64)

    def register(connection: apsw.Connection, segment: Segment) -> NDArray[np.int64]:
        ids = [part.ids[row] for row in rows_K.tolist()]
        dead = mark(connection, ids)
        texts = (part.metadata[row] for row in rows_K.tolist())
        connection.executemany(
            "INSERT INTO row (row_id, id, metadata) VALUES (?, ?, jsonb(?))",
            zip(segment.row_ids_N.tolist(), ids, texts, strict=True),
        )
        manifest.note_imported(connection, part.name, digest, len(ids))
        return np.sort(np.array(dead, np.int64))

    _adopt(sealing, len(rows_K), lambda identity: part.blocks(identity, rows_K), register, progress)
    return len(rows_K)


def _adopt(
    sealing: Sealing,
    count: int,
    blocks: Callable[[Identity], Iterator[Vectors]],
    register: Callable[[apsw.Connection, Segment], NDArray[np.int64]],
    progress: Steps,
) -> None:
    """Writes a file of new rows and makes it a segment; `register` gives the rows that it replaces."""
    place, memory, writer = sealing.place, sealing.memory, sealing.writer
    with sealing.turn:
        with writer.exclusive():
            with writer.transaction() as connection:
                first = set_aside(connection, count)
            memory.freeze()
        segment_id = sealing.next_id()
        try:
            segment, of_file = _written(
                sealing, segment_id, np.arange(first, first + count), blocks, progress
            )
            with writer.exclusive():
                place.database.require_room()
                with writer.transaction() as connection:
                    dead = register(connection, segment)
                    manifest.add(connection, of_file, (first, first + count - 1), count)
                memory.insert(segment, dead)
        except (PolylensError, MemoryError) as error:
            if not isinstance(error, StorageFailed):  # else it may be committed: the next opening knows
                sealing.remove_files(segment_id)
            raise
        finally:
            memory.thaw()


def _written(
    sealing: Sealing,
    segment_id: int,
    row_ids_N: NDArray[np.int64],
    blocks: Callable[[Identity], Iterator[Vectors]],
    progress: Steps,
) -> tuple[Segment, Sealed]:
    """The segment of a new file, which is durable."""
    place, count = sealing.place, len(row_ids_N)
    identity, files = place.identity, place.files
    place.database.require_space(sealed.rows_size(count, identity.dim, identity.storage))
    # The longest vector stands before the vectors: they are looked at twice, and written once.
    norm, done = 0.0, 0
    for block in blocks(identity):
        norm, done = max(norm, largest_norm(block)), done + len(block)
        progress("checking", done, count)
    files.make_folder(place.folder / sealed.FOLDER)
    path = sealed.rows_path(place.folder, segment_id)

    def fill(put: Callable[[bytes], None]) -> None:
        written = counted(blocks(identity), count, progress)
        sealed.fill_rows(put, row_ids_N, written, identity.dim, identity.storage, norm)

    stamp = sealed.write_file(files, path, fill)
    mapped = sealed.map_rows(files, path, count, identity.dim, identity.storage)
    of_file = Sealed(segment_id, EXACT, stamp, NO_FILE, {}, None, sole=True)
    return Segment(mapped.vectors_ND, mapped.row_ids_N, None, count, mapped.max_norm, of_file), of_file
