"""The lock, and that every change of a folder is synced."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from polylens.index import Collection, Store
from polylens.index.errors import CollectionBusy, StorageFailed, StorageFull
from polylens.index.files import Files

OPEN = """
import sys
from polylens.index import Collection
try:
    collection = Collection.open(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error, flush=True)
else:
    print("opened", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone_even_by_a_kill(tmp_path: Path):
    path = tmp_path / "c"
    with Collection.create(path, dim=4, fingerprint="f"):
        result = subprocess.run(
            [sys.executable, "-c", OPEN, path], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert result.stdout == f"CollectionBusy {path} is in use by process {os.getpid()}\n", result.stderr
        with pytest.raises(CollectionBusy):  # nor may this process open it twice
            Collection.open(path)
        with pytest.raises(CollectionBusy):
            Collection.create(path, dim=4, fingerprint="f", exist_ok=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", OPEN, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "opened\n"
        with pytest.raises(CollectionBusy, match=f"process {holder.pid}"):
            Collection.open(path)
        holder.send_signal(signal.SIGKILL)
    Collection.open(path).close()


def test_a_lock_tells_whether_its_last_holder_released_it(tmp_path: Path):
    files, path = Files(), tmp_path / "LOCK"
    lock = files.lock(path)
    assert not lock.unclean
    lock.release()
    lock = files.lock(path)
    assert not lock.unclean
    os.close(lock.descriptor)  # as a kill does
    lock = files.lock(path)
    assert lock.unclean
    lock.release(clean=False)
    assert files.lock(path).unclean


def test_after_an_unclean_stop_the_structure_is_checked_and_only_then(tmp_path: Path, monkeypatch):
    path, checks = tmp_path / "c", []
    monkeypatch.setattr("polylens.index.database.Database.check", lambda self: checks.append(self.path))
    Collection.create(path, dim=4, fingerprint="f").close()
    Collection.open(path).close()
    assert checks == []
    (path / "LOCK").write_text("4711\n")
    Collection.open(path).close()
    Collection.open(path).close()
    assert checks == [path / "collection.db"]


class Recorder(Files):
    """The real calls, written down."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Path]] = []

    def sync_folder(self, path: Path) -> None:
        self.calls.append(("sync", path))
        super().sync_folder(path)

    def rename(self, source: Path, target: Path) -> None:
        self.calls.append(("rename", target))
        super().rename(source, target)

    def remove_folder(self, path: Path) -> None:
        self.calls.append(("remove", path))
        super().remove_folder(path)


def test_folders_are_synced_after_every_change_of_their_entries(tmp_path: Path):
    files, root = Recorder(), tmp_path / "new" / "data"
    with Store(root, files=files) as store:
        assert files.calls == [("sync", tmp_path / "new"), ("sync", tmp_path)]
        files.calls.clear()
        store.create("birds", dim=4, fingerprint="f")
        assert files.calls == [("sync", root), ("sync", root / "birds")]
        files.calls.clear()
        store.drop("birds")
        (renamed, trash), synced, removed = files.calls
        assert renamed == "rename" and synced == ("sync", root) and removed == ("remove", trash)


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageFailed)]
)
def test_errors_of_the_disk_have_names(tmp_path: Path, monkeypatch, code, kind):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(kind, match=os.strerror(code)):
        Collection.create(tmp_path / "c", dim=4, fingerprint="f")
    monkeypatch.undo()
    with Collection.create(
        tmp_path / "c", dim=4, fingerprint="f", exist_ok=True
    ) as made:  # nothing is left locked
        assert made.count() == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed):
        Collection.create(tmp_path / "file", dim=4, fingerprint="f")
