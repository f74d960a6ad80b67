"""Every file call of the collections except SQLite's own, behind one object that tests may replace."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import CollectionBusy, StorageFailed, StorageFull


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turns an OSError into `StorageFull` or `StorageFailed` that names the path."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (StorageFull if full else StorageFailed)(f"{path}: {error.strerror or error}") from error


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


class Files:
    """The file calls. A folder's entries are durable only once the folder itself is synced."""

    def make_folder(self, path: Path) -> None:
        """Creates the folder and its missing parents, durably."""
        with _reported(path):
            missing = [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            self.sync_folder(folder.parent)

    def sync_folder(self, path: Path) -> None:
        """Returns when the folder's entries are on disk."""
        with _reported(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def lock(self, path: Path) -> Lock:
        """The lock, held until released or this process ends, however it ends; `CollectionBusy` if taken.

        The file holds its owner's process id, so a non-empty file that nobody locks means an unclean stop.
        """
        with _reported(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.suppress(OSError):  # a full disk must not keep anybody from reading
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except BlockingIOError as error:
                os.close(descriptor)
                raise CollectionBusy(f"{path.parent} is in use by process {owner or '?'}") from error
            except BaseException:
                os.close(descriptor)
                raise
        return Lock(descriptor, unclean=bool(owner))

    def rename(self, source: Path, target: Path) -> None:
        """Renames within one folder, durably."""
        with _reported(source):
            os.rename(source, target)
        self.sync_folder(target.parent)

    def remove_folder(self, path: Path) -> None:
        """Removes the folder and all that is in it."""
        with _reported(path):
            shutil.rmtree(path)
