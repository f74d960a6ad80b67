"""A full disk refuses the write and nothing else; an I/O error stops writing until opened again."""

import threading

import apsw
import numpy as np
import pytest
from polylens.index import Collection, segment
from polylens.index.errors import CollectionBusy, StorageFailed, StorageFull


def limit_pages(collection: Collection, spare: int | None) -> None:
    """Lets the database grow by so many pages only, as a full disk would."""
    writer = collection._database.writer
    ((pages,),) = writer.execute("PRAGMA page_count").fetchall()
    writer.execute(f"PRAGMA max_page_count = {2**31 if spare is None else pages + spare}").fetchall()


def test_full_refuses_writes_keeps_the_old_state_and_recovers_by_itself(collection, unit):
    collection.upsert(["a", "b"], unit(2), [{"v": 1}] * 2)
    before = collection.search(unit(1), k=5)[0]
    limit_pages(collection, 2)
    big = [{"x": "y" * 60_000}] * 20
    for _ in range(3):
        with pytest.raises(StorageFull, match="full"):
            collection.upsert(["a", *(f"n{n}" for n in range(19))], unit(20, seed=1), big)
        assert collection.count() == 2
        after = collection.search(unit(1), k=5)[0]
        assert (after.ids, after.metadata) == (before.ids, before.metadata)
        assert after.scores.tobytes() == before.scores.tobytes()
        assert collection.get(["a", "n0"])[0].metadata == {"v": 1} and collection.get(["n0"]) == [None]
    assert collection.delete(["b"]) == 1  # what needs no room works
    limit_pages(collection, None)
    assert collection.upsert(["a", *(f"n{n}" for n in range(19))], unit(20, seed=1), big) == 20
    collection.close()
    with Collection.open(collection.path) as again:
        assert again.count() == 20 and again.get(["a"])[0].metadata == big[0]


def test_full_for_one_caller_of_a_shared_commit_is_not_full_for_the_others(collection, unit, while_writing):
    collection.upsert(["a"], unit(1))
    limit_pages(collection, 4)
    outcomes: dict[str, object] = {}

    def write(name: str, metadata: dict) -> None:
        try:
            outcomes[name] = collection.upsert([name], unit(1), [metadata])
        except StorageFull as error:
            outcomes[name] = error

    jobs = [
        threading.Thread(target=write, args=("small", {})),
        threading.Thread(target=write, args=("large", {"x": [f"{n:09}" for n in range(5_000)]})),
        threading.Thread(target=write, args=("little", {"n": 1})),
    ]
    limit_pages(collection, 1)
    with while_writing(collection, jobs):
        pass
    assert outcomes["small"] == outcomes["little"] == 1
    assert isinstance(outcomes["large"], StorageFull)
    assert sorted(record.id for record in collection.scan()) == ["a", "little", "small"]


def test_full_while_clearing_up_undoes_no_acknowledged_delete(collection, unit, monkeypatch):
    monkeypatch.setattr(segment, "WASTE_ROWS", 10)
    names = [f"id{n}" for n in range(100)]
    collection.upsert(names, unit(100))

    def full(*_):
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr("polylens.index.writer.purge", full)
    assert collection.delete(names[:50]) == 50
    assert collection.count() == 50 and len(collection.search(unit(1), k=100)[0]) == 50
    collection.upsert(["new"], unit(1))
    monkeypatch.undo()
    collection.close()
    with Collection.open(collection.path) as again:
        assert sorted(record.id for record in again.scan(limit=1000)) == sorted([*names[50:], "new"])


@pytest.mark.parametrize("moment", ["before the commit", "at the commit", "after the commit"])
def test_an_io_error_stops_writing_not_reading_until_opened_again(collection, unit, monkeypatch, moment):
    collection.upsert(["a"], unit(1), [{"v": 1}])
    if moment == "before the commit":
        monkeypatch.setattr("polylens.index.writer.write", raise_io_error)
    elif moment == "at the commit":
        collection._database.writer.set_commit_hook(raise_io_error)
    else:
        monkeypatch.setattr(collection._memory, "apply", raise_io_error)
    with pytest.raises(StorageFailed, match="disk I/O error"):
        collection.upsert(["b"], unit(1))
    monkeypatch.undo()
    collection._database.writer.set_commit_hook(None)
    for _ in range(2):  # a second try must not succeed: nobody knows what the first one left
        with pytest.raises(StorageFailed, match="open it again"):
            collection.upsert(["c"], unit(1))
    assert collection.search(unit(1), k=5)[0].ids == ["a"] and collection.get(["a"])[0].metadata == {"v": 1}
    collection.close()
    assert (collection.path / "LOCK").read_text()  # so it will be checked
    with Collection.open(collection.path) as again:
        kept = ["a", "b"] if moment == "after the commit" else ["a"]
        assert [record.id for record in again.scan()] == sorted(again.search(unit(1), k=5)[0].ids) == kept
        again.upsert(["c"], unit(1))


def raise_io_error(*_: object) -> None:
    raise apsw.IOError("disk I/O error")


def test_an_interrupted_write_keeps_all_or_nothing(collection, unit, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    collection.upsert(["a"], unit(1))
    with monkeypatch.context() as patched:
        patched.setattr("polylens.index.writer.write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            collection.upsert(["b"], unit(1))
    assert collection.search(unit(1), k=5)[0].ids == ["a"]
    collection.close()
    with Collection.open(collection.path) as again:
        assert [record.id for record in again.scan()] == ["a"]


def test_a_database_locked_by_a_stranger_delays_writes_but_breaks_nothing(collection, unit, monkeypatch):
    collection.upsert(["a"], unit(1))
    collection._database.writer.set_busy_timeout(20)
    stranger = apsw.Connection(str(collection._database.path))
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(CollectionBusy):
        collection.upsert(["b"], unit(1))
    stranger.execute("ROLLBACK")
    stranger.close()
    assert collection.upsert(["b"], unit(1)) == 1
    assert np.array_equal(collection.search(unit(1), k=5)[0].scores, [1, 1])


@pytest.mark.parametrize("checkpoints", [True, False], ids=["bounded", "control: never copied back"])
def test_the_log_stays_bounded(collection, unit, monkeypatch, checkpoints):
    monkeypatch.setattr("polylens.index.database.CHECKPOINT_PAGES", 16 if checkpoints else 10**9)
    for turn in range(40):
        collection.upsert(["a"], unit(1, seed=turn))
        collection.search(unit(1))
    size = collection._database.path.with_name("collection.db-wal").stat().st_size
    assert (size < 32 * 16_384) == checkpoints
