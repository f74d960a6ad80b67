"""Every file call of the collections except SQLite's own, behind one object that tests may replace."""

import errno
import fcntl
import mmap
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import CollectionBusy, StorageFailed, StorageFull

LOCK = "LOCK"  # the name of the lock file in a collection's folder
READ_BLOCK = 2**20
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turns an OSError into `StorageFull` or `StorageFailed` that names the path."""
    try:
        yield
    except OSError as error:
        raise (StorageFull if error.errno in FULL else StorageFailed)(
            f"{path}: {error.strerror or error}"
        ) from error


@dataclass(frozen=True, slots=True)
class Lock:
    """A held lock file; `unclean` says that its last holder never released it: it crashed or was killed."""

    descriptor: int
    unclean: bool

    def release(self, clean: bool = True) -> None:
        """Lets go; unless `clean`, the next holder will see `unclean`."""
        try:
            if clean:
                os.ftruncate(self.descriptor, 0)
        finally:
            os.close(self.descriptor)  # closing the last descriptor is what releases a flock


class Output:
    """A new file, written once from its start to its end; durable after `sync` and a sync of its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with reported(path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends all of the data."""
        rest = memoryview(data).cast("B")
        with reported(self.path):
            while rest:
                rest = rest[self._put(rest) :]

    def _put(self, data: memoryview) -> int:
        """The number of bytes appended; the disk may take fewer than it was given."""
        return os.write(self._descriptor, data)

    def sync(self) -> None:
        """Returns when the content is on disk. After a failure never call it again: it would lie."""
        with reported(self.path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Closes the file; calling it again does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with reported(self.path):
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Blocks:
    """The blocks of a file that is open until they were all read, or nobody wants them any more."""

    def __init__(self, path: Path) -> None:
        self._path, self._descriptor = path, -1
        with reported(path):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._descriptor >= 0:
            with reported(self._path):
                if block := os.read(self._descriptor, READ_BLOCK):
                    return block
            self.__del__()
        raise StopIteration

    def __del__(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Files:
    """The file calls. A folder's entries are durable only once the folder itself is synced."""

    vfs: str | None = None  # the name of the apsw VFS through which SQLite reaches its files; None: its own

    def create(self, path: Path) -> Output:
        """A new file for writing; one that is there already is emptied."""
        return Output(path)

    def read_blocks(self, path: Path) -> Iterator[bytes]:
        """The content, block by block. The file is opened now, so it stays readable if it is unlinked."""
        return _Blocks(path)

    def map(self, path: Path) -> mmap.mmap:
        """The content as read-only memory; it stays readable if the file is unlinked."""
        with reported(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if not os.fstat(descriptor).st_size:
                    raise OSError(errno.EINVAL, "an empty file cannot be mapped")
                return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(descriptor)

    def unlink(self, path: Path) -> None:
        """Removes the file if it is there. After a power cut it may be back, unless its folder was synced."""
        with reported(path):
            path.unlink(missing_ok=True)

    def free_space(self, path: Path) -> int:
        """The bytes that may still be written to the disk that holds the path."""
        with reported(path):
            found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def make_folder(self, path: Path) -> None:
        """Creates the folder and its missing parents, durably."""
        with reported(path):
            missing = [folder for folder in (path, *path.parents) if not folder.exists()]
            for folder in reversed(missing):
                self._make(folder)
            if not missing and not path.is_dir():
                raise OSError(errno.ENOTDIR, "is not a folder")
        for folder in missing:
            self.sync_folder(folder.parent)

    def _make(self, path: Path) -> None:
        path.mkdir(exist_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Returns when the folder's entries are on disk."""
        with reported(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def lock(self, path: Path) -> Lock:
        """The lock, held until released or this process ends, however it ends; `CollectionBusy` if taken.

        The file holds its owner's process id, so a non-empty file that nobody locks means an unclean stop.
        """
        with reported(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _sign(descriptor)
            except BlockingIOError as error:
                os.close(descriptor)
                raise CollectionBusy(f"{path.parent} is in use by process {owner or '?'}") from error
            except BaseException:
                os.close(descriptor)
                raise
        return Lock(descriptor, unclean=bool(owner))

    def publish(self, temporary: Path, path: Path) -> None:
        """Gives a file that was written and synced its final name, durably; an older one is replaced."""
        self.rename(temporary, path)

    def rename(self, source: Path, target: Path) -> None:
        """Renames within one folder, durably."""
        with reported(source):
            self._rename(source, target)
        self.sync_folder(target.parent)

    def _rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def link(self, source: Path, target: Path) -> bool:
        """Gives a file a second name in its folder, durably; False where that cannot be."""
        try:
            self._link(source, target)
        except OSError:
            return False
        self.sync_folder(target.parent)
        return True

    def _link(self, source: Path, target: Path) -> None:
        os.link(source, target)

    def remove_folder(self, path: Path) -> None:
        """Removes the folder and all that is in it."""
        with reported(path):
            shutil.rmtree(path)


def _sign(descriptor: int) -> None:
    """Writes this process's id into the lock file: an unclean stop is seen, even after a power cut."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in FULL:  # a full disk must not keep anybody from reading
            raise
