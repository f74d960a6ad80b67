"""The full check of a collection's folder: everything that can be compared is compared, nothing is changed.

Legend: N rows of a segment, D width, B rows of a block.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import apsw
import numpy as np
from numpy.typing import NDArray

from . import manifest, rows, schema, sealed
from .database import DATABASE, check_sqlite, reported
from .errors import (
    CollectionBusy,
    CollectionError,
    CollectionNotFound,
    CorruptCollection,
    StorageFull,
    UnsupportedFormat,
)
from .files import LOCK, Files
from .manifest import Entry
from .schema import Identity
from .validation import MAX_DIM, MAX_ID_BYTES, NORM_TOLERANCE

BLOCK = 2_048  # rows read at a time
_COMMENT = re.compile(r"--[^\n]*")
MOST = 20  # findings of one kind
KNOWN = {LOCK, sealed.FOLDER, sealed.BUILD, *(DATABASE + suffix for suffix in ("", "-wal", "-shm"))}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. `kind` is database, row, segment or file.

    Damage to the database or to rows is loss; a segment is derived, opening the collection makes it anew.
    Files that do not belong there are no damage.
    """

    kind: str
    what: str

    @property
    def loss(self) -> bool:
        return self.kind in ("database", "row")


@dataclass(slots=True)
class Report:
    """What was checked, and what was found."""

    folder: Path
    identity: Identity | None = None
    live: int = 0
    dead: int = 0
    segments: int = 0
    bytes: int = 0
    unclean: bool = False  # the last process that had it open never released it
    findings: list[Finding] = field(default_factory=list)
    more: int = 0  # findings beyond those listed

    @property
    def sound(self) -> bool:
        """Whether nothing at all was found but files that do not belong there."""
        return all(finding.kind == "file" for finding in self.findings)

    @property
    def lossless(self) -> bool:
        """Whether all items are there, unharmed."""
        return not any(finding.loss for finding in self.findings)

    def add(self, kind: str, what: str) -> None:
        if sum(finding.kind == kind for finding in self.findings) < MOST:
            self.findings.append(Finding(kind, what))
        else:
            self.more += 1


def verify(folder: Path, files: Files | None = None, *, segments: bool = True) -> Report:
    """What a full check of the collection in the folder found; nobody else may have it open meanwhile.

    Without `segments` only what holds items is checked: the database, and segments of imported rows.
    """
    files = files or Files()
    path = folder / DATABASE
    if not path.is_file():
        raise CollectionNotFound(f"there is no collection in {folder}")
    lock = files.lock(folder / LOCK)
    try:
        report = Report(folder, unclean=lock.unclean)
        with _unchanged(path, files), _reading(path, files) as connection:
            _check_database(connection, folder, report)
            if report.identity is not None and report.lossless:
                _check_segments(connection, folder, files, report.identity, report, derived=segments)
            known = _segment_files(connection, folder) if report.lossless else set()
        if report.lossless:
            _check_names(folder, known, report)
    except (UnsupportedFormat, StorageFull, CollectionBusy):
        raise  # nothing of it was read
    except CollectionError as error:
        report.add("database", str(error))
    finally:
        lock.release(clean=not lock.unclean)
    return report


def alone(folder: Path, files: Files) -> set[str]:
    """The files, by their names in the folder, that hold rows which no other file has; none if in doubt."""
    path = folder / DATABASE
    try:
        with _unchanged(path, files), _reading(path, files) as connection:
            if schema.identity(connection) is None or _strange_definitions(connection):
                return set()
            found = manifest.entries(connection)
    except (CorruptCollection, UnsupportedFormat):
        return set()
    return {str(sealed.rows_path(Path(), entry.segment_id)) for entry in found if entry.sole}


def _segment_files(connection: apsw.Connection, folder: Path) -> set[Path]:
    paths = (sealed.rows_path, sealed.index_path)
    return {path(folder, entry.segment_id) for entry in manifest.entries(connection) for path in paths}


@contextmanager
def _unchanged(path: Path, files: Files) -> Iterator[None]:
    """Removes the empty log and the index of it that even a reader makes."""
    made = [side for suffix in ("-wal", "-shm") if not (side := Path(f"{path}{suffix}")).exists()]
    try:
        yield
    finally:
        for side in made:
            files.unlink(side)


@contextmanager
def _reading(path: Path, files: Files) -> Iterator[apsw.Connection]:
    """A connection that reads and leaves the write-ahead log as it is."""
    check_sqlite(apsw.sqlite_lib_version())
    with reported(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=files.vfs)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.execute(
                "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON"
            )
            yield connection
        finally:
            connection.close()


def _check_database(connection: apsw.Connection, folder: Path, report: Report) -> None:
    report.bytes += (folder / DATABASE).stat().st_size
    report.identity = identity = schema.identity(connection)
    if identity is None:
        report.add("database", f"the collection in {folder} was never completely created")
        return
    if not 0 < identity.dim <= MAX_DIM:
        report.add("database", f"the width is {identity.dim}, expected 1 to {MAX_DIM}")
    for what in _strange_definitions(connection):
        report.add("database", what)
    if not report.lossless:
        return
    for (finding,) in connection.execute(f"PRAGMA integrity_check({MOST})").fetchall():
        if finding != "ok":
            report.add("database", str(finding))
    if report.lossless:  # else the statements below may trip over what was just reported
        _check_rows(connection, identity, report)


def _strange_definitions(connection: apsw.Connection) -> list[str]:
    """What the database defines, such as a trigger, that no collection does; and what it lacks."""
    fresh = apsw.Connection(":memory:")
    try:
        schema.create(fresh, Identity(1, "f"))
        expected, found = _definitions(fresh), _definitions(connection)
    finally:
        fresh.close()
    strange = [name for name in sorted(found) if found[name] != expected.get(name)]
    missing = sorted(expected.keys() - found.keys())
    return [f"the definition of {name!r:.100} is not ours" for name in strange] + [
        f"{name!r} is missing" for name in missing
    ]


def _definitions(connection: apsw.Connection) -> dict[str, str]:
    """The SQL of every table, index, view and trigger, by name, however it is laid out."""
    found = connection.execute("SELECT name, type, coalesce(sql, '') FROM sqlite_schema").fetchall()
    texts = {str(name): f"{kind} {_COMMENT.sub('', str(sql))}" for name, kind, sql in found}
    return {
        name: "".join(text.split()).replace(
            "DEFAULT'float32'", ""
        )  # a column that format 2 added to format 1
        for name, text in texts.items()
    }


def _check_rows(connection: apsw.Connection, identity: Identity, report: Report) -> None:
    """Every row, live or dead: its vector, its checksum, its metadata, its number."""
    imported = [(entry.first_row, entry.last_row) for entry in manifest.entries(connection) if entry.sole]
    sql = """SELECT row.row_id, row.id, row.deleted, json_valid(row.metadata, 8), vector, checksum
             FROM row LEFT JOIN vector USING (row_id) ORDER BY row.row_id"""
    last = 0
    for row_id, id, deleted, valid, blob, checksum in cast(
        Iterator[tuple[Any, ...]], connection.execute(sql)
    ):
        last = row_id
        report.live += not deleted
        report.dead += bool(deleted)
        if not valid:
            report.add("row", f"the metadata of row {row_id} is damaged")
        if not 0 < len(id.encode()) <= MAX_ID_BYTES:
            report.add("row", f"the id of row {row_id} has {len(id.encode())} bytes")
        if blob is None and any(first <= row_id <= last for first, last in imported):
            continue  # to be found in that segment
        if what := _vector_fault(identity, row_id, id, blob, checksum):
            report.add("row", f"{what} of row {row_id}")
    ((lone,),) = connection.execute(
        "SELECT count(*) FROM vector WHERE row_id NOT IN (SELECT row_id FROM row)"
    ).fetchall()
    if lone:
        report.add("row", f"{lone} vectors belong to no row")
    ((used,),) = cast(
        list[tuple[int]],
        connection.execute("SELECT max(seq, 0) FROM sqlite_sequence WHERE name = 'row'").fetchall() or [(0,)],
    )
    if last > used:
        report.add("row", f"row {last} is beyond the numbers that were given out")


def _vector_fault(identity: Identity, row_id: int, id: str, blob: Any, checksum: Any) -> str | None:
    if blob is None:
        return "there is no vector"
    if len(blob) != identity.dim * identity.storage.itemsize or rows.checksum(row_id, id, blob) != checksum:
        return "the checksum or the size is not that"
    norm = float(np.linalg.norm(np.frombuffer(blob, identity.storage).astype(np.float64)))
    return None if _allowed(identity, np.array([norm])).all() else f"the norm {norm:g} is not allowed: that"


def _allowed(identity: Identity, norms_B: NDArray[np.float64]) -> NDArray[np.bool_]:
    if identity.metric != "cosine":
        return np.isfinite(norms_B)
    return np.abs(norms_B - 1) <= 2 * NORM_TOLERANCE  # false for NaN


def _check_segments(
    connection: apsw.Connection,
    folder: Path,
    files: Files,
    identity: Identity,
    report: Report,
    *,
    derived: bool,
) -> None:
    """All segments, or only those that hold vectors of their own."""
    before = 0
    for entry in manifest.entries(connection):
        if not (derived or entry.sole):
            continue
        report.segments += 1
        name = f"segment {entry.segment_id}"
        if entry.first_row <= before:
            report.add("segment", f"{name} overlaps the one before it")
        before = entry.last_row
        if entry.attempts:
            report.add("segment", f"{name} broke off {entry.attempts} openings")
        try:
            _check_rows_file(connection, folder, files, identity, entry, report)
        except CollectionError as error:
            report.add("row" if entry.sole else "segment", f"{name}: {error}")
        try:
            if derived and entry.index_file.size:
                report.bytes += entry.index_file.size
                sealed.verify(files, sealed.index_path(folder, entry.segment_id), entry.index_file)
        except CollectionError as error:
            report.add("segment", f"{name}: {error}")


def _check_rows_file(
    connection: apsw.Connection, folder: Path, files: Files, identity: Identity, entry: Entry, report: Report
) -> None:
    """The file against its checksum, then its rows against those of the database."""
    kind = "row" if entry.sole else "segment"
    path = sealed.rows_path(folder, entry.segment_id)
    sealed.verify(files, path, entry.rows)
    report.bytes += entry.rows.size
    found = sealed.map_rows(files, path, entry.count, identity.dim, identity.storage)
    row_ids_N = found.row_ids_N
    ends = (row_ids_N[0], row_ids_N[-1]) if len(row_ids_N) else (0, 0)
    if ends != (entry.first_row, entry.last_row) or (np.diff(row_ids_N) <= 0).any():
        report.add(
            kind,
            f"{path} has other row ids than ascending ones from {entry.first_row} to {entry.last_row}",
        )
        return
    sql = """SELECT row_id, vector FROM row LEFT JOIN vector USING (row_id)
             WHERE deleted = 0 AND row_id BETWEEN ? AND ? ORDER BY row_id"""
    cursor = connection.execute(sql, (entry.first_row, entry.last_row))
    while block := list(itertools.islice(cursor, BLOCK)):
        stored = [(row_id, blob) for row_id, blob in block if blob is not None]
        ids_B = np.array([row_id for row_id, _ in stored], np.int64)
        stored_BD = np.frombuffer(
            b"".join(cast(Sequence[bytes], [blob for _, blob in stored])), identity.storage
        )
        wrong = _differing(found.vectors_ND, row_ids_N, ids_B, stored_BD.reshape(len(stored), identity.dim))
        own_B = np.array([row_id for row_id, blob in block if blob is None], np.int64)
        wrong = np.concatenate([wrong, _unsound(identity, found.vectors_ND, row_ids_N, own_B)])
        if len(wrong):
            report.add(
                kind, f"{path} lacks row {wrong[0]} or has another vector for it; {len(wrong)} such rows"
            )


def _differing(
    vectors_ND: NDArray[np.floating[Any]],
    row_ids_N: NDArray[np.int64],
    ids_B: NDArray[np.int64],
    stored_BD: NDArray[np.floating[Any]],
) -> NDArray[np.int64]:
    """Those of the row ids whose vectors are not, bit by bit, the stored ones."""
    positions = np.minimum(np.searchsorted(row_ids_N, ids_B), len(row_ids_N) - 1)
    bits = f"V{stored_BD.dtype.itemsize * stored_BD.shape[1]}"
    mine = np.ascontiguousarray(vectors_ND[positions]).view(bits).ravel()
    wrong: NDArray[np.int64] = ids_B[
        (row_ids_N[positions] != ids_B) | (mine != np.ascontiguousarray(stored_BD).view(bits).ravel())
    ]
    return wrong


def _unsound(
    identity: Identity,
    vectors_ND: NDArray[np.floating[Any]],
    row_ids_N: NDArray[np.int64],
    ids_B: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Those of the row ids that are not there, or whose vectors are of no allowed length."""
    positions = np.minimum(np.searchsorted(row_ids_N, ids_B), len(row_ids_N) - 1)
    norms_B = np.linalg.norm(vectors_ND[positions].astype(np.float64), axis=1)
    wrong: NDArray[np.int64] = ids_B[(row_ids_N[positions] != ids_B) | ~_allowed(identity, norms_B)]
    return wrong


def _check_names(folder: Path, known: set[Path], report: Report) -> None:
    """Files that nobody asked for: leftovers of seals, which opening removes, and strangers."""
    segments = folder / sealed.FOLDER
    for path in sorted([*folder.iterdir(), *(segments.iterdir() if segments.is_dir() else ())]):
        if path not in known and path.name not in KNOWN:
            report.add("file", f"{path} does not belong to the collection")
