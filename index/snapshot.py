"""Snapshots: a collection, even one in use, in one file; and a collection made from such a file.

Both work in a folder of their own beside the target, `.<name>.part`, and rename what they made when it is
whole and on the disk. So the target is there completely or not at all, whenever the process is killed or the
power cut; the next attempt clears up what the last one left.
"""

import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import apsw

from . import archive, manifest, schema, sealed
from .archive import Member
from .database import DATABASE, MIN_FREE, Database, reported
from .errors import (
    CollectionExists,
    CollectionNotFound,
    CorruptCollection,
    CorruptSnapshot,
    StorageFailed,
    StorageFull,
)
from .files import LOCK, Files
from .schema import Identity
from .sealed import Stamp
from .verify import Report, alone, verify

Content = Iterator[bytes]
Part = tuple[Member, Content]
CHANCES = 5  # to see all files of a moment


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was written: the file, its size in bytes, the items in it, and the sealed segments."""

    path: Path
    size: int
    count: int
    segments: int


def take(database: Database, target: Path) -> Snapshot:
    """A snapshot, in the new file `target`, of what the open database holds now; writing goes on meanwhile.

    Needs room for the database twice and for the files of its segments once. A segment whose files are
    damaged is left out: it is derived from the database.
    """
    files, min_free = database.files, database.min_free
    with _workshop(target, files) as work:
        _require_space(files, work, 2 * database.path.stat().st_size, min_free)
        copy, whole = work / DATABASE, work / "snapshot.tar"
        about, segments = _seen(database, copy)
        _settle(copy, files, segments)
        parts = [(archive.measured(DATABASE, files.read_blocks(copy)), files.read_blocks(copy))]
        parts += [part for one in segments.values() for part in one]
        _require_space(files, work, sum(member.size for member, _ in parts), min_free)
        with files.create(whole) as output:
            archive.write(output.write, about, parts)
            output.sync()
        size = whole.stat().st_size
        files.publish(whole, target)
    return Snapshot(target, size, int(about["count"]), len(segments))


def restore(
    source: Path, folder: Path, files: Files | None = None, *, trusted: bool = False, min_free: int = MIN_FREE
) -> Report:
    """What a full check found in the collection `folder`, from a snapshot; `CorruptSnapshot` if it is none.

    Everything is verified before the folder gets its name. Files of segments are used only from a `trusted`
    snapshot, as FAISS reads them; without, the rows are searched exactly until they are sealed again.
    """
    files = files or Files()
    with _workshop(folder, files) as work:
        reader = archive.Reader(files.read_blocks(source))
        _require_space(files, work, sum(member.size for member in reader.members), min_free)
        new = work / "collection"
        for part in (new, new / sealed.FOLDER):
            files.make_folder(part)
        wanted = {DATABASE}
        for member in reader.members:
            _unpack(reader, member, new, files, trusted or member.name in wanted)
            if member.name == DATABASE:
                wanted |= alone(new, files)
        reader.finish()
        report = verify(new, files, segments=trusted)
        if report.identity is None or not report.lossless:
            raise CorruptSnapshot(f"{source} holds a damaged collection: {report.findings[0].what}")
        if reader.about != (found := _described(report.identity, report.live)):
            raise CorruptSnapshot(f"{source} holds {found}, its manifest says {reader.about}")
        if not (trusted and report.sound):
            _settle(new / DATABASE, files, (), indexes=False)
            _clear(new / sealed.FOLDER, files, alone(new, files))
        files.sync_folder(new / sealed.FOLDER)
        files.sync_folder(new)
        files.publish(new, folder)
    report.folder = folder
    return report


@contextmanager
def _workshop(target: Path, files: Files) -> Iterator[Path]:
    """An empty folder beside the target, for this process alone, removed afterwards with what is in it."""
    if target.exists() or target.is_symlink():
        raise CollectionExists(f"{target} exists already")
    if not target.parent.is_dir():
        raise CollectionNotFound(f"there is no folder {target.parent}")
    folder = target.with_name(f".{target.name}.part")
    files.make_folder(folder)
    lock = files.lock(folder / LOCK)
    try:
        _clear(folder, files)
        yield folder
    finally:
        try:
            files.remove_folder(folder)
        finally:
            lock.release()


def _seen(database: Database, copy: Path) -> tuple[dict[str, str | int], dict[int, list[Part]]]:
    """What the database is about, copied, and its segments, all as of one moment."""
    folder, files = database.path.parent, database.files
    for chance in range(CHANCES, 0, -1):
        with database.reader() as source:
            source.execute("BEGIN")  # from here on this connection sees one state
            try:
                about = _about(source, folder)
                segments = _segments(source, folder, files)
                _copy(source, copy, files)
                return about, segments
            except StorageFailed:  # a segment was merged with others just now
                if chance == 1:
                    raise
            finally:
                source.execute("ROLLBACK")
    raise StorageFailed(f"{folder} changes too fast")


def _clear(folder: Path, files: Files, kept: Collection[str] = ()) -> None:
    for left in folder.iterdir():
        if f"{folder.name}/{left.name}" in kept:
            continue
        if left.is_dir() and not left.is_symlink():
            files.remove_folder(left)
        elif left.name != LOCK:
            files.unlink(left)


def _require_space(files: Files, folder: Path, planned: int, min_free: int) -> None:
    free = files.free_space(folder)
    if free < planned + min_free:
        raise StorageFull(f"{folder}: {free:,} bytes are free, expected at least {planned + min_free:,}")


def _about(source: apsw.Connection, folder: Path) -> dict[str, str | int]:
    """What the manifest is to say of the collection that this connection sees."""
    identity = schema.identity(source)
    if identity is None:
        raise CollectionNotFound(f"the collection in {folder} was never completely created")
    ((count,),) = source.execute("SELECT count(*) FROM row WHERE deleted = 0").fetchall()
    return _described(identity, cast(int, count))


def _described(identity: Identity, count: int) -> dict[str, str | int]:
    """What the manifest says of the collection."""
    return {**asdict(identity), "count": count}


def _segments(source: apsw.Connection, folder: Path, files: Files) -> dict[int, list[Part]]:
    """The files of each sound segment: measured, and open, so that they stay readable if they are removed.

    Rows that only a segment has must be there; of such a segment the index may be missing.
    """
    found: dict[int, list[Part]] = {}
    for entry in manifest.entries(source):
        rows, index = (path(folder, entry.segment_id) for path in (sealed.rows_path, sealed.index_path))
        parts = []
        try:
            parts.append(_measured(files, rows, folder, entry.rows))
            if entry.index_file.size:
                parts.append(_measured(files, index, folder, entry.index_file))
        except (StorageFailed, CorruptCollection):  # removed meanwhile, or damaged
            if entry.sole and not parts:
                raise
            if not entry.sole:
                continue
        found[entry.segment_id] = parts
    return found


def _measured(files: Files, path: Path, folder: Path, stamp: Stamp) -> tuple[Member, Content]:
    content = files.read_blocks(path)
    return archive.measured(
        str(path.relative_to(folder)), _checked(path, files.read_blocks(path), stamp)
    ), content


def _checked(path: Path, blocks: Iterable[bytes], stamp: Stamp) -> Content:
    size = crc = 0
    for block in blocks:
        size, crc = size + len(block), zlib.crc32(block, crc)
        yield block
    if Stamp(size, crc) != stamp:
        raise CorruptCollection(f"{path} has size and checksum {size}, {crc:08x}, expected {stamp}")


def _copy(source: apsw.Connection, target: Path, files: Files) -> None:
    """Copies the database as the source sees it."""
    with reported(target):
        copy = apsw.Connection(str(target), vfs=files.vfs)
        try:
            copy.execute("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF")
            with copy.backup("main", source, "main") as backup:
                backup.step(-1)
        finally:
            copy.close()


def _settle(path: Path, files: Files, kept: Collection[int], *, indexes: bool = True) -> None:
    """Checks a database and removes all segments but those kept; all of it is in the one file then.

    Segments of imported rows always stay, without `indexes` only their rows.
    """
    database = Database(path, files)
    try:
        database.check()
        with database.transaction() as connection:
            found = manifest.entries(connection)
            surplus = [n.segment_id for n in found if n.segment_id not in kept and not n.sole]
            manifest.remove(connection, surplus)
            if not indexes:
                manifest.forget_indexes(connection, [entry.segment_id for entry in found if entry.sole])
        with reported(path):
            database.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        database.close()


def _unpack(reader: archive.Reader, member: Member, folder: Path, files: Files, wanted: bool) -> None:
    """Writes the member to its place, durably, if it is wanted; it is verified in any case."""
    content = reader.content(member)
    if not wanted:
        for _ in content:  # verified nevertheless
            pass
        return
    with files.create(folder / member.name) as output:
        for block in content:
            output.write(block)
        output.sync()
