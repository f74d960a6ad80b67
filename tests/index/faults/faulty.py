"""Files and an SQLite VFS through one hub, which counts the calls that change the disk and plants faults."""

import errno
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
from polylens.index.files import Files, Output, reported

from .disk import Journal

WRITES = ("create", "folder", "write")  # the calls that need room
SYNCS = ("sync", "sync_folder")
DURABLE = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
LOGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
_names = itertools.count()


def fail(code: int) -> None:
    raise OSError(code, os.strerror(code))


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Hub:
    """Carries every call out and counts it. Subclasses plant a fault."""

    def __init__(self, journal: Journal | None = None, free: int = 2**50) -> None:
        self.count = 0
        self.counts: dict[str, int] = {}
        self.journal = journal
        self.free = free  # bytes, as the watermark sees them
        self._lock = threading.RLock()

    def call(
        self, kind: str, path: Path, action: Callable[[], Any], note: Callable[[Journal], None] | None
    ) -> None:
        """Carries the action out and notes it, before any other call."""
        with self._lock:
            self._counted(kind)
            self.before(kind)
            action()
            if note is not None and self.journal is not None and self.journal.covers(path):
                note(self.journal)
            self.after(kind)

    def write(self, path: Path, offset: int, data: memoryview, put: Callable[[memoryview], Any]) -> int:
        """The number of bytes written: all, or what the fault leaves."""
        with self._lock:
            self._counted("write")
            self.before("write")
            data = data[: self.part(len(data))]
            put(data)
            if self.journal is not None and self.journal.covers(path):
                self.journal.write(path, offset, bytes(data))
            self.after("write")
        return len(data)

    def _counted(self, kind: str) -> None:
        self.count += 1
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def before(self, kind: str) -> None:
        """Called before every call; may raise an OSError in its place."""

    def part(self, size: int) -> int:
        """How many bytes of the current write are carried out."""
        return size

    def after(self, kind: str) -> None:
        """Called after every call."""


class KillAt(Hub):
    """Kills this process at call `at`: before it, after it, or ("torn") in the middle of a write."""

    def __init__(self, at: int, moment: str) -> None:
        super().__init__()
        self.at, self.moment = at, moment

    def before(self, kind: str) -> None:
        if self.count == self.at and (self.moment == "before" or self.moment == "torn" and kind != "write"):
            kill()

    def part(self, size: int) -> int:
        return size // 2 if self.count == self.at and self.moment == "torn" else size

    def after(self, kind: str) -> None:
        if self.count == self.at:
            kill()


class FullFrom(Hub):
    """The disk is full from the n-th call on that needs room; that one is cut short if it is a write."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.needs, self.full = at, 0, False

    def before(self, kind: str) -> None:
        if kind not in WRITES:
            return
        self.needs += 1
        self.full |= self.needs == self.at
        if self.full and (self.needs > self.at or kind != "write"):
            fail(errno.ENOSPC)

    def part(self, size: int) -> int:
        return size // 2 if self.full else size


class FailSync(Hub):
    """The n-th sync fails once; later ones claim success, as Linux does."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.syncs = at, 0

    def before(self, kind: str) -> None:
        self.syncs += kind in SYNCS
        if kind in SYNCS and self.syncs == self.at:
            fail(errno.EIO)


class FaultyOutput(Output):
    def __init__(self, path: Path, hub: Hub) -> None:
        self._hub, self._size, self._descriptor = hub, 0, -1
        with reported(path):
            hub.call(
                "create", path, lambda: super(FaultyOutput, self).__init__(path), lambda j: j.create(path)
            )

    def _put(self, data: memoryview) -> int:
        written = self._hub.write(self.path, self._size, data, lambda part: os.write(self._descriptor, part))
        self._size += written
        return written

    def sync(self) -> None:
        with reported(self.path):
            self._hub.call("sync", self.path, super().sync, lambda journal: journal.sync(self.path))


class FaultyFiles(Files):
    """Files whose every call, SQLite's included, goes through the hub. Use it as a context manager."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.vfs = f"faulty{next(_names)}"
        self._registered = FaultyVFS(self.vfs, hub)

    def __enter__(self) -> "FaultyFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self._registered.unregister()

    def create(self, path: Path) -> Output:
        return FaultyOutput(path, self.hub)

    def sync_folder(self, path: Path) -> None:
        with reported(path):
            self.hub.call("sync_folder", path, lambda: super(FaultyFiles, self).sync_folder(path),
                          lambda journal: journal.sync(path))  # fmt: skip

    def _make(self, path: Path) -> None:
        self.hub.call("folder", path, lambda: super(FaultyFiles, self)._make(path),
                      lambda journal: journal.create(path, "folder"))  # fmt: skip

    def _rename(self, source: Path, target: Path) -> None:
        self.hub.call("rename", source, lambda: super(FaultyFiles, self)._rename(source, target),
                      lambda journal: journal.rename(source, target))  # fmt: skip

    def _link(self, source: Path, target: Path) -> None:
        self.hub.call("link", source, lambda: super(FaultyFiles, self)._link(source, target),
                      lambda journal: journal.link(source, target))  # fmt: skip

    def unlink(self, path: Path) -> None:
        with reported(path):
            self.hub.call("unlink", path, lambda: super(FaultyFiles, self).unlink(path),
                          lambda journal: journal.unlink(path))  # fmt: skip

    def remove_folder(self, path: Path) -> None:
        with reported(path):
            self.hub.call("remove_folder", path, lambda: super(FaultyFiles, self).remove_folder(path),
                          lambda journal: journal.remove_folder(path))  # fmt: skip

    def free_space(self, path: Path) -> int:
        return self.hub.free


@contextmanager
def _as_sqlite() -> Iterator[None]:
    """Turns an OSError into what SQLite's own VFS reports for it."""
    try:
        yield
    except OSError as error:
        kind = apsw.FullError if error.errno == errno.ENOSPC else apsw.IOError
        raise kind(str(error)) from error


class FaultyVFS(apsw.VFS):
    def __init__(self, name: str, hub: Hub) -> None:
        super().__init__(name, "")
        self._hub = hub

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        if name is None or not flags[0] & DURABLE:
            return apsw.VFSFile("", name, flags)  # SQLite's temporary files
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        with _as_sqlite():
            return FaultyFile(self._hub, path, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        path = Path(name)
        with _as_sqlite():
            self._hub.call("unlink", path, lambda: super(FaultyVFS, self).xDelete(name, sync),
                           lambda journal: journal.unlink(path))  # fmt: skip
            if sync:
                self._hub.call("sync_folder", path.parent, lambda: None, lambda j: j.sync(path.parent))


class FaultyFile(apsw.VFSFile):
    def __init__(self, hub: Hub, path: Path, name: Any, flags: list[int]) -> None:
        self._hub, self._path = hub, path
        # Like SQLite's own VFS, the first sync of a new log also syncs the folder.
        self._new_log = not path.exists() and bool(flags[0] & LOGS)
        if path.exists():
            super().__init__("", name, flags)
        else:
            hub.call("create", path, lambda: super(FaultyFile, self).__init__("", name, flags),
                     lambda journal: journal.create(path))  # fmt: skip

    def xWrite(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        with _as_sqlite():
            put = super().xWrite
            if self._hub.write(self._path, offset, view, lambda part: put(bytes(part), offset)) < len(view):
                fail(errno.ENOSPC)

    def xTruncate(self, size: int) -> None:
        with _as_sqlite():
            self._hub.call("truncate", self._path, lambda: super(FaultyFile, self).xTruncate(size),
                           lambda journal: journal.truncate(self._path, size))  # fmt: skip

    def xSync(self, flags: int) -> None:
        with _as_sqlite():
            self._hub.call("sync", self._path, lambda: super(FaultyFile, self).xSync(flags),
                           lambda journal: journal.sync(self._path))  # fmt: skip
            if self._new_log:
                folder = self._path.parent
                self._hub.call("sync_folder", folder, lambda: None, lambda journal: journal.sync(folder))
                self._new_log = False
