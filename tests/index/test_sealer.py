"""The background thread seals when that is due, while all read and write, and gives up when asked."""

import threading
import time

import pytest
from polylens.index import Collection, policy, sealer, sealing, tune
from polylens.index.errors import StorageFull

WIDTH = 8


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    monkeypatch.setattr(policy, "INDEX_ROWS", 300)
    monkeypatch.setattr(policy, "SEAL_ROWS", 200)
    monkeypatch.setattr(tune, "QUERIES", 4)


def wait(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "it did not happen within 30 seconds"
        time.sleep(0.005)


def idle(collection):
    return collection._sealer._thread is None


def fill(collection, unit, first, last):
    collection.upsert([f"id{n}" for n in range(first, last)], unit(last - first, WIDTH, seed=first))


def test_it_seals_merges_and_rests(collection, unit):
    for first in range(0, 1_500, 100):
        fill(collection, unit, first, first + 100)
    wait(lambda: collection.info().tail < 200 and idle(collection))
    state = collection.info()
    assert state.count == 1_500 and state.degraded == [] and 1 <= len(state.segments) <= 3
    collection.delete([f"id{n}" for n in range(1_000)])
    wait(lambda: collection.info().dead < 300 and idle(collection))
    assert collection.count() == 500


def test_without_background_nothing_happens_by_itself(tmp_path, unit):
    Collection.create(tmp_path / "c", dim=WIDTH, fingerprint="f").close()
    with Collection.open(tmp_path / "c", background=False) as collection:
        fill(collection, unit, 0, 1_000)
        assert collection.info().tail == 1_000 and collection._sealer is None


def test_opening_takes_up_what_was_left(tmp_path, unit):
    Collection.create(tmp_path / "c", dim=WIDTH, fingerprint="f").close()
    with Collection.open(tmp_path / "c", background=False) as collection:
        fill(collection, unit, 0, 1_000)
    with Collection.open(tmp_path / "c") as collection:
        wait(lambda: collection.info().tail == 0)


def test_configure_rebuilds_what_is_there(collection, unit):
    fill(collection, unit, 0, 1_000)
    wait(lambda: collection.info().tail == 0 and idle(collection))
    collection.configure("IVF4,Flat")
    wait(lambda: [s.factory for s in collection.info().segments] == ["IVF4,Flat"])


@pytest.fixture
def stalled(monkeypatch):
    """Building an index reports, then waits: (has begun, may go on)."""
    begun, proceed = threading.Event(), threading.Event()
    honest = sealing._built

    def slow(segment, factory, progress):
        begun.set()
        while not proceed.wait(0.005):
            progress("adding", 0, 1)
        return honest(segment, factory, progress)

    monkeypatch.setattr(sealing, "_built", slow)
    return begun, proceed


def test_writes_go_on_while_it_builds_and_are_in_the_new_segment(collection, unit, stalled):
    begun, proceed = stalled
    collection.configure("IVF4,Flat")
    fill(collection, unit, 0, 500)
    assert begun.wait(30)
    collection.delete([f"id{n}" for n in range(10)])
    fill(collection, unit, 400, 480)  # replaces them
    assert collection.count() == 490
    proceed.set()
    wait(lambda: collection.info().segments != [] and idle(collection))
    state = collection.info()
    assert (state.count, state.tail, state.segments[0].dead) == (490, 80, 90)
    found = collection.search(unit(80, WIDTH, seed=400), 1)
    assert [hits.ids for hits in found] == [[f"id{n}"] for n in range(400, 480)]
    path = collection.path
    collection.close()
    with Collection.open(path, background=False) as again:
        assert again.count() == 490 and again.info().degraded == []


def test_closing_gives_up_what_is_being_built(collection, unit, stalled):
    begun, _ = stalled
    collection.configure("IVF4,Flat")
    fill(collection, unit, 0, 500)
    assert begun.wait(30)
    collection.close()
    assert list((collection.path / "segments").iterdir()) == []
    with Collection.open(collection.path, background=False) as again:
        assert (again.count(), again.info().tail) == (500, 500)


def test_a_failure_is_told_and_tried_again_later(collection, unit, monkeypatch):
    monkeypatch.setattr(sealer, "RETRY_SECONDS", 0)

    def full(*arguments):
        raise StorageFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(collection._database, "require_space", lambda planned=0: full() if planned else None)
        fill(collection, unit, 0, 500)
        wait(lambda: collection.info().degraded != [] and idle(collection))
        assert "no room" in collection.info().degraded[0]
        assert collection.count() == 500
    fill(collection, unit, 500, 501)
    wait(lambda: collection.info().degraded == [] and collection.info().tail < 200)


def test_two_that_seal_at_once_take_turns(collection, unit):
    fill(collection, unit, 0, 250)
    threads = [threading.Thread(target=collection.seal) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collection.info().tail == 0 and len(collection.info().segments) == 1
