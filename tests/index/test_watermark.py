"""Little room on the disk: writes are refused, all else goes on, and writes resume by themselves."""

from pathlib import Path

import apsw
import pytest
from polylens.index import Collection, Store, database
from polylens.index.errors import StorageFull
from polylens.index.files import Files

MIN_FREE = database.MIN_FREE


class Disk(Files):
    """A disk with as much room as a test says."""

    def __init__(self, free: int = 2**40) -> None:
        self.free = free
        self.asked: list[Path] = []

    def free_space(self, path: Path) -> int:
        self.asked.append(path)
        return self.free


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_below_the_watermark_writes_are_refused_until_there_is_room_again(tmp_path, unit, disk):
    with Collection.create(tmp_path / "c", dim=8, fingerprint="f", files=disk) as collection:
        collection.upsert(["a", "b"], unit(2))
        disk.free = MIN_FREE - 1
        for _ in range(2):
            with pytest.raises(
                StorageFull, match=f"{MIN_FREE - 1:,} bytes are free .* at least {MIN_FREE:,}"
            ):
                collection.upsert(["c"], unit(1))
            with pytest.raises(StorageFull):
                collection.seal()
            assert collection.count() == 2 and len(collection.search(unit(1), k=5)[0]) == 2
            assert collection.get(["a", "c"])[1] is None
        assert collection.delete(["b"]) == 1  # makes room
        disk.free = MIN_FREE
        assert collection.upsert(["c"], unit(1)) == 1
        assert sorted(r.id for r in collection.scan()) == ["a", "c"]
        assert set(disk.asked) == {tmp_path / "c"}


def test_opening_and_reading_need_no_room_but_creating_does(tmp_path, unit, disk):
    with Collection.create(tmp_path / "c", dim=8, fingerprint="f", files=disk) as collection:
        collection.upsert(["a"], unit(1))
        collection.seal()
    disk.free = 0
    with Collection.open(tmp_path / "c", files=disk) as collection:
        assert collection.search(unit(1))[0].ids == ["a"]
    with Store(tmp_path / "s", files=disk) as store:
        with pytest.raises(StorageFull):
            store.create("new", dim=8, fingerprint="f")
        disk.free = MIN_FREE
        store.create("new", dim=8, fingerprint="f").upsert(["a"], unit(1))


def test_the_watermark_may_be_chosen_and_the_log_at_its_bound_fits_below_it(tmp_path, unit, disk):
    disk.free = 1_000
    with Collection.create(tmp_path / "c", dim=8, fingerprint="f", files=disk, min_free=1_000) as collection:
        assert collection.upsert(["a"], unit(1)) == 1
    assert MIN_FREE >= database.RESTART_PAGES * database.PAGE_BYTES


def test_control_without_the_watermark_the_write_goes_on(tmp_path, unit, disk, monkeypatch):
    with Collection.create(tmp_path / "c", dim=8, fingerprint="f", files=disk) as collection:
        disk.free = 0
        monkeypatch.setattr(database.Database, "require_room", lambda self: None)
        assert collection.upsert(["a"], unit(1)) == 1


@pytest.mark.parametrize("limited", [True, False], ids=["bounded", "control: no bound"])
def test_a_read_that_does_not_end_stops_writing_before_the_log_grows_too_long(
    tmp_path, unit, monkeypatch, limited
):
    for name, pages in {
        "CHECKPOINT_PAGES": 8,
        "RESTART_PAGES": 16,
        "LIMIT_PAGES": 64 if limited else 10**9,
    }.items():
        monkeypatch.setattr(database, name, pages)
    with Collection.create(tmp_path / "c", dim=8, fingerprint="f", min_free=0) as collection:
        collection._database.writer.set_busy_timeout(1)
        reader = apsw.Connection(str(tmp_path / "c" / "collection.db"))
        reader.execute("BEGIN; SELECT count(*) FROM row").fetchall()
        refused = 0
        for n in range(150):
            try:
                collection.upsert([f"{n}"], unit(1))
            except StorageFull as error:
                assert "a long read" in str(error)
                refused += 1
        log = tmp_path / "c" / "collection.db-wal"
        assert (refused > 0) == (log.stat().st_size < 100 * database.PAGE_BYTES) == limited
        assert collection.count() == 150 - refused
        reader.execute("COMMIT")
        assert collection.upsert(["more"], unit(1)) == 1
        reader.close()


def test_an_index_of_the_log_that_does_not_fit_is_a_full_disk_not_a_failure():
    """SQLite says so with an error of its own: the write is undone, and the next one may succeed."""
    error = apsw.IOError("disk I/O error")
    error.extendedresult = apsw.SQLITE_IOERR_SHMSIZE
    with pytest.raises(StorageFull), database.reported(Path("c")):
        raise error
