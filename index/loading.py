"""Opening: the rows of a collection in memory, from sealed segments where they are sound, else from SQLite.

A segment's files are derived from the database. One that is missing or damaged, or that twice broke off an
opening (the process died while loading it), is dropped from the manifest; its rows are read from the database
and searched exactly until they are sealed again. Of a segment of imported rows, whose vectors no other file
has, only the index is dropped; when its rows are damaged the collection does not open.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import PolylensError
from . import manifest, policy, rows, schema, sealed
from .database import DATABASE, Database, reported
from .errors import (
    CollectionBusy,
    CorruptCollection,
    StorageFailed,
    StorageFull,
)
from .faiss_index import EXACT
from .files import LOCK, Files, Lock
from .manifest import Entry
from .memory import Memory
from .policy import Policy
from .schema import Identity
from .sealed import Stamp
from .sealing import Place
from .segment import WASTE_ROWS, WASTE_SHARE, Segment

CHECK_BYTES = 2 * 2**30  # larger databases are not checked before serving after an unclean stop
LAST = 2**63 - 1  # beyond every row id


def acquire(
    folder: Path, files: Files, min_free: int, undo: contextlib.ExitStack
) -> tuple[Lock, Database, Identity | None]:
    """The folder's lock and database, released by `undo`, and the identity; None if still to be created."""
    lock = files.lock(folder / LOCK)
    undo.callback(lock.release, clean=not lock.unclean)  # what did not open is to be checked again
    database = Database(folder / DATABASE, files, min_free=min_free)
    undo.callback(database.close)
    if lock.unclean and database.path.stat().st_size <= CHECK_BYTES:
        database.check()
    with reported(database.path):
        outdated = schema.outdated(database.writer)
    if outdated:
        with database.transaction() as connection:
            schema.migrate(connection)
    with reported(database.path):
        return lock, database, schema.identity(database.writer)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The searchable rows, and a sentence for each segment that had to be dropped."""

    memory: Memory
    degraded: list[str]
    policy: Policy


def load(place: Place) -> Loaded:
    """The live rows; row ids that no segment covers are read block by block."""
    folder, files, database, identity = place.folder, place.files, place.database, place.identity
    with reported(database.path):
        live, all_dead = rows.counts(database.writer)
        wanted = policy.from_json(manifest.setting(database.writer, policy.SETTING))
    entries, problems = _trusted(database)
    segments, more = _open_segments(folder, database, files, identity, entries)
    dead = _without_covered(all_dead, segments)
    if len(dead) >= WASTE_ROWS and len(dead) > WASTE_SHARE * (live + len(dead)):
        with contextlib.suppress(StorageFull), database.transaction() as connection:
            rows.purge(connection, dead)
    memory = _filled(database, identity, segments, live)
    memory.apply([], all_dead)
    alone = any(segment.sealed is not None and segment.sealed.sole for segment in segments)
    if segments and memory.view.count != live and not alone:
        more.append("the segments have other rows than the database")
        _drop(database, [segment.sealed.segment_id for segment in segments if segment.sealed])
        memory = _filled(database, identity, [], live)
    if memory.view.count != live:  # counted in the index of ids
        raise CorruptCollection(f"{database.path} has {memory.view.count} live rows, its index of ids {live}")
    _sweep(folder, files, memory)
    return Loaded(memory, problems + more, wanted)


def _trusted(database: Database) -> tuple[list[Entry], list[str]]:
    """The segments worth loading; the others leave the manifest."""
    with reported(database.path):
        found = manifest.entries(database.writer)
    kept: list[Entry] = []
    problems, bad = [], []
    for entry in found:
        if entry.attempts >= manifest.MAX_ATTEMPTS and entry.sole:
            problems.append(f"segment {entry.segment_id} broke off {entry.attempts} openings: only rows kept")
            kept.append(_without_index(database, entry))
            continue
        if entry.attempts >= manifest.MAX_ATTEMPTS:
            problems.append(f"segment {entry.segment_id} broke off {entry.attempts} openings: set aside")
        elif kept and entry.first_row <= kept[-1].last_row and (entry.sole or kept[-1].sole):
            raise CorruptCollection(f"segments {kept[-1].segment_id} and {entry.segment_id} overlap")
        elif kept and entry.first_row <= kept[-1].last_row:
            problems.append(f"segment {entry.segment_id} overlaps segment {kept[-1].segment_id}: set aside")
        else:
            kept.append(entry)
            continue
        bad.append(entry.segment_id)
    _drop(database, bad)
    return kept, problems


def _without_index(database: Database, entry: Entry) -> Entry:
    """The segment as if it had no index, which the manifest says from now on."""
    with _if_room(), database.transaction() as connection:
        manifest.forget_indexes(connection, [entry.segment_id])
    return replace(entry, factory=EXACT, index_file=Stamp(0, 0), parameters={}, attempts=0)


def _drop(database: Database, segment_ids: Sequence[int]) -> None:
    if segment_ids:
        with _if_room(), database.transaction() as connection:
            manifest.remove(connection, segment_ids)


def _if_room() -> contextlib.suppress:
    """What opening notes is only for the next opening: a full disk must not keep anybody from reading."""
    return contextlib.suppress(StorageFull, CollectionBusy)


def _open_segments(
    folder: Path, database: Database, files: Files, identity: Identity, entries: Sequence[Entry]
) -> tuple[list[Segment], list[str]]:
    segments, problems = [], []
    done: list[int] = []
    for entry in entries:
        with _if_room(), database.transaction() as connection:
            manifest.begin_loading(connection, entry.segment_id, done)
        try:
            segments.append(open_segment(folder, files, identity, entry))
        except (PolylensError, RuntimeError) as error:  # RuntimeError: FAISS
            problems.append(f"segment {entry.segment_id} was set aside: {error}")
            if entry.sole:  # its rows are nowhere else: what is wrong with those is the end
                segments.append(open_segment(folder, files, identity, _without_index(database, entry)))
            else:
                _drop(database, [entry.segment_id])
        done.append(entry.segment_id)
    if entries:
        with _if_room(), database.transaction() as connection:
            manifest.end_loading(connection)
    return segments, problems


def open_segment(folder: Path, files: Files, identity: Identity, entry: Entry) -> Segment:
    """The segment of verified files, all of whose rows count as live."""
    path = sealed.rows_path(folder, entry.segment_id)
    sealed.verify(files, path, entry.rows)
    found = sealed.map_rows(files, path, entry.count, identity.dim, identity.storage)
    row_ids = found.row_ids_N
    if not entry.count or (row_ids[0], row_ids[-1]) != (entry.first_row, entry.last_row):
        raise CorruptCollection(f"{path} has other row ids than {entry.first_row} to {entry.last_row}")
    index = None
    if entry.index_file.size:
        path = sealed.index_path(folder, entry.segment_id)
        sealed.verify(files, path, entry.index_file)
        index = sealed.read_index(files, path, entry.index_file, entry.count)
    files_of = sealed.Sealed(
        entry.segment_id, entry.factory, entry.rows, entry.index_file, entry.parameters, index, entry.sole
    )
    return Segment(found.vectors_ND, row_ids, None, entry.count, found.max_norm, files_of)


def _without_covered(dead_K: NDArray[np.int64], segments: Sequence[Segment]) -> NDArray[np.int64]:
    """The dead rows that are in no sealed segment, so that nothing needs to know of them."""
    covered = [segment.row_ids_N[segment.positions(dead_K)] for segment in segments]
    return np.setdiff1d(dead_K, np.concatenate([dead_K[:0], *covered]), assume_unique=True)


def _filled(database: Database, identity: Identity, segments: Sequence[Segment], live: int) -> Memory:
    """The segments and, between them, the rows that the database alone has."""
    loose = live - sum(segment.live_count for segment in segments)
    memory = Memory(identity.dim, max(loose, 0), identity.storage.newbyteorder("="))
    after = 0
    try:
        with reported(database.path):
            for segment in (*segments, None):
                until = LAST if segment is None else int(segment.row_ids_N[0]) - 1
                for block in rows.live_blocks(database.writer, identity.dim, identity.storage, after, until):
                    memory.apply([block], block[0][:0])
                if segment is not None:
                    memory.append(segment)
                    after = int(segment.row_ids_N[-1])
    # Of columns that hold what no write of ours put there.
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptCollection(f"{database.path}: {error}") from error
    return memory


def _sweep(folder: Path, files: Files, memory: Memory) -> None:
    """Removes files that belong to no segment: of seals that did not come to their end."""
    known = [segment.sealed for segment in memory.view.segments if segment.sealed]
    kept = {sealed.rows_path(folder, one.segment_id).name for one in known}
    kept |= {sealed.index_path(folder, one.segment_id).name for one in known if one.index_file.size}
    with contextlib.suppress(FileNotFoundError):
        for path in (folder / sealed.FOLDER).iterdir():
            if path.name not in kept:
                with contextlib.suppress(StorageFailed, StorageFull):
                    files.unlink(path)
