"""One SQLite file: a connection that writes, a small pool that reads, and SQLite's errors in our words.

Every commit is synced before it returns (WAL with synchronous=FULL; NORMAL loses acknowledged rows at a power
cut).
"""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from .errors import (
    CollectionBusy,
    CollectionClosed,
    CollectionError,
    CorruptCollection,
    StorageFailed,
    StorageFull,
    UnsupportedFormat,
)
from .files import Files

DATABASE = "collection.db"  # the name of the file in a collection's folder
MINIMUM_SQLITE = (3, 51, 3)  # earlier ones can corrupt a database when its WAL is reset: sqlite.org/wal.html
IDLE_READERS = 8
PAGE_BYTES = 16_384  # packs vectors of common widths well; 4 KiB pages waste half at width 512
CHECKPOINT_PAGES = 2_048  # 32 MiB of WAL: copy it into the database
RESTART_PAGES = 16_384  # 256 MiB: readers kept the copying from finishing, so wait for them
LIMIT_PAGES = 65_536  # 1 GiB: a reader that does not end, so write no more until it does
# Refuse to write with less free: what the WAL holds was acknowledged, so there must be room to copy it into
# the database; and SQLite does not meet a full disk half-way.
MIN_FREE = RESTART_PAGES * PAGE_BYTES
_PRAGMAS = (
    f"page_size = {PAGE_BYTES}",
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 0",
    "foreign_keys = ON",
    "mmap_size = 0",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "cache_size = -16384",
)
_ERRORS: dict[type[apsw.Error], type[CollectionError]] = {
    apsw.FullError: StorageFull,
    apsw.CorruptError: CorruptCollection,
    apsw.NotADBError: CorruptCollection,
    apsw.SQLError: CorruptCollection,  # our statements are right: a table is missing, or JSON is damaged
    apsw.BusyError: CollectionBusy,
    apsw.LockedError: CollectionBusy,
}


def check_sqlite(version: str) -> None:
    """Refuses an SQLite library with the WAL-reset bug."""
    if tuple(int(part) for part in version.split(".")) < MINIMUM_SQLITE:
        needed = ".".join(map(str, MINIMUM_SQLITE))
        raise UnsupportedFormat(
            f"SQLite {version} can corrupt collections, at least {needed} is needed: upgrade apsw"
        )


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours, naming the path."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise CorruptCollection(f"{path}: {error}") from error
    except apsw.Error as error:
        kind = next((ours for theirs, ours in _ERRORS.items() if isinstance(error, theirs)), StorageFailed)
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE:
            kind = StorageFull  # no room for the index of the log: the transaction was undone
        raise kind(f"{path}: {error}") from error


class Database:
    """An open SQLite file. One thread at a time uses `writer`; `reader()` lends connections to any."""

    def __init__(self, path: Path, files: Files | None = None, *, min_free: int = MIN_FREE) -> None:
        check_sqlite(apsw.sqlite_lib_version())
        self.path, self.files, self.min_free = path, files or Files(), min_free
        self._idle: list[apsw.Connection] = []
        self._guard = threading.Lock()
        self._closed = False
        self._wal_pages = 0
        with reported(path):
            self.writer = self._connect(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            try:
                for pragma in _PRAGMAS:
                    self.writer.execute(f"PRAGMA {pragma}").fetchall()
            except BaseException:
                self.writer.close()
                raise
        self.writer.set_wal_hook(self._count_wal)

    def _connect(self, flags: int) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), flags=flags, vfs=self.files.vfs)
        connection.set_busy_timeout(5_000)
        return connection

    def _count_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def require_room(self) -> None:
        """Raises `StorageFull` unless disk and log have room for a write; to be called by who writes."""
        if self._wal_pages >= LIMIT_PAGES:
            self.checkpoint()
        if self._wal_pages >= LIMIT_PAGES:
            raise StorageFull(
                f"{self.path}-wal holds {self._wal_pages * PAGE_BYTES:,} bytes, which a long read keeps from"
                " being copied into the database; writing goes on when it ends"
            )
        self.require_space()

    def require_space(self, planned: int = 0) -> None:
        """Raises `StorageFull` unless the disk keeps its reserve after so many more bytes."""
        free = self.files.free_space(self.path.parent)
        if free < self.min_free + planned:
            raise StorageFull(
                f"{self.path.parent}: {free:,} bytes are free on the disk, expected at least"
                f" {self.min_free + planned:,}; writing goes on when there is room"
            )

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """The writer within a transaction: committed and synced on leaving, undone on any exception."""
        with reported(self.path):
            self.writer.execute("BEGIN IMMEDIATE")
            try:
                yield self.writer
                self.writer.execute("COMMIT")
            except BaseException:
                if self.writer.in_transaction:
                    self.writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reader(self) -> Iterator[apsw.Connection]:
        """A connection that only reads; fetch all before leaving: an open read lets the WAL grow."""
        with reported(self.path):
            connection = self._borrow()
            try:
                yield connection
            except BaseException:
                connection.close(True)
                raise
            self._give_back(connection)

    def _borrow(self) -> apsw.Connection:
        with self._guard:
            if self._closed:
                raise CollectionClosed(f"{self.path.parent} is closed")
            if self._idle:
                return self._idle.pop()
        connection = self._connect(
            apsw.SQLITE_OPEN_READWRITE
        )  # a reader too writes to the WAL's shared index
        connection.execute("PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF")
        return connection

    def _give_back(self, connection: apsw.Connection) -> None:
        with self._guard:
            if not self._closed and len(self._idle) < IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()

    def checkpoint(self) -> None:
        """Copies a large WAL into the database; a full disk or a busy reader only puts it off."""
        if self._wal_pages < CHECKPOINT_PAGES:
            return
        waits = self._wal_pages >= RESTART_PAGES
        mode = apsw.SQLITE_CHECKPOINT_RESTART if waits else apsw.SQLITE_CHECKPOINT_PASSIVE
        with contextlib.suppress(StorageFull, CollectionBusy), reported(self.path):
            self.writer.wal_checkpoint(mode=mode)
            if waits:
                self._wal_pages = 0  # the next commit begins the log anew, or says how long it is

    def vacuum(self) -> None:
        """Writes the database anew without its free pages; it needs room for all of it in the log."""
        self.require_space(2 * self.path.stat().st_size)
        with reported(self.path):
            self.writer.execute("VACUUM")
            self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def check(self) -> None:
        """Refuses a database whose structure is damaged."""
        with reported(self.path):
            findings = [finding for (finding,) in self.writer.execute("PRAGMA quick_check(5)")]
        if findings != ["ok"]:
            raise CorruptCollection(f"{self.path}: {'; '.join(map(str, findings))}")

    def close(self) -> None:
        """Closes all connections; the last one copies the WAL into the database and removes it."""
        with self._guard:
            self._closed, idle, self._idle = True, self._idle, []
        with reported(self.path):
            for connection in (*idle, self.writer):
                connection.close()
