"""Idempotency keys: a write that is sent again is answered again, and done once."""

import threading

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.index import Collection, Equal, requests
from polylens.index.errors import IdempotencyConflict, VersionConflict

DAY = 24 * 3_600


class Time:
    """The computer's clock and the time that passes, both set by hand."""

    def __init__(self, monkeypatch) -> None:
        self.wall, self.passed = 1_800_000_000.0, 50.0
        monkeypatch.setattr(requests, "time", lambda: self.wall)
        monkeypatch.setattr(requests, "monotonic", lambda: self.passed)

    def goes_on(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds

    def is_set(self, seconds: float) -> None:
        self.wall += seconds


@pytest.fixture
def clock(monkeypatch) -> Time:
    return Time(monkeypatch)


@pytest.fixture
def timed(clock, tmp_path):
    """A collection that goes by the clock."""
    with Collection.create(tmp_path / "birds", dim=8, fingerprint="model-a") as made:
        yield made


def reopened(collection: Collection) -> Collection:
    collection.close()
    return Collection.open(collection.path)


def keys(collection: Collection) -> int:
    with collection._database.reader() as connection:
        return connection.execute("SELECT count(*) FROM request").fetchall()[0][0]


def test_the_same_write_again_is_answered_but_not_done(collection, unit):
    assert collection.upsert(["a", "b"], unit(2), [{"n": 1}, {}], idempotency_key="k") == 2
    before = [(record.id, record.version) for record in collection.scan()]
    collection.delete(["b"])
    assert collection.upsert(["a", "b"], unit(2), [{"n": 1}, {}], idempotency_key="k") == 2
    assert [(record.id, record.version) for record in collection.scan()] == before[:1]
    collection = reopened(collection)
    assert collection.upsert(["a", "b"], unit(2), [{"n": 1}, {}], idempotency_key="k") == 2
    assert collection.count() == 1
    collection.close()


def test_control_without_the_key_it_is_done_again(collection, unit):
    collection.upsert(["a", "b"], unit(2))
    collection.delete(["b"])
    collection.upsert(["a", "b"], unit(2))
    assert collection.count() == 2


def test_deletions_answer_what_they_answered(collection, unit):
    collection.upsert(["a", "b", "c"], unit(3), [{"x": 1}, {"x": 1}, {"x": 2}])
    assert collection.delete(["c"], idempotency_key="one") == 1
    assert collection.delete_where(Equal("x", 1), idempotency_key="two") == 2
    collection.upsert(["a", "c"], unit(2), [{"x": 1}] * 2)
    assert collection.delete(["c"], idempotency_key="one") == 1
    assert collection.delete_where(Equal("x", 1), idempotency_key="two") == 2
    assert collection.count() == 2


OTHERS = {
    "ids": lambda c, v: c.upsert(["a", "c"], v, [{"n": 1}, {}], idempotency_key="k"),
    "an id cut elsewhere": lambda c, v: c.upsert(["ab", ""][:1], v[:1], [{"n": 1}], idempotency_key="k"),
    "vectors": lambda c, v: c.upsert(["a", "b"], v[::-1], [{"n": 1}, {}], idempotency_key="k"),
    "metadata": lambda c, v: c.upsert(["a", "b"], v, [{"n": 2}, {}], idempotency_key="k"),
    "1 and 1.0": lambda c, v: c.upsert(["a", "b"], v, [{"n": 1.0}, {}], idempotency_key="k"),
    "order": lambda c, v: c.upsert(["b", "a"], v, [{"n": 1}, {}], idempotency_key="k"),
    "versions": lambda c, v: c.upsert(["a", "b"], v, [{"n": 1}, {}], if_version=[0, 0], idempotency_key="k"),
    "deletion": lambda c, v: c.delete(["a", "b"], idempotency_key="k"),
    "filter": lambda c, v: c.delete_where(Equal("n", 1), idempotency_key="k"),
    "nothing": lambda c, v: c.upsert([], v[:0], idempotency_key="k"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_write_with_the_same_key_is_refused(collection, unit, other):
    vectors = unit(2)
    collection.upsert(["a", "b"], vectors, [{"n": 1}, {}], idempotency_key="k")
    with pytest.raises(IdempotencyConflict, match="'k' was used for another write"):
        OTHERS[other](collection, vectors)
    assert sorted(record.id for record in collection.scan()) == ["a", "b"]


def test_the_order_of_metadata_keys_does_not_matter(collection, unit):
    for metadata in ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}):
        assert collection.upsert(["x"], unit(1), [metadata], idempotency_key="k") == 1
    assert collection.get(["x"])[0].version == 1


def test_a_refused_write_leaves_no_key(collection, unit):
    with pytest.raises(VersionConflict):
        collection.upsert(["a"], unit(1), if_version=[5], idempotency_key="k")
    assert collection.upsert(["a"], unit(1), idempotency_key="k") == 1
    # What was written then is answered, though the version it expects has gone by.
    held = collection.get(["a"])[0].version
    for _ in range(2):
        assert collection.upsert(["a"], unit(1, seed=1), if_version=[held], idempotency_key="next") == 1


@pytest.mark.parametrize("bad", ["", "x" * 257, "nul\0", "\ud800", 7, b"k"], ids=lambda bad: f"{bad!a:.10}")
def test_bad_keys_are_refused(collection, unit, bad):
    for call in (
        lambda: collection.upsert(["a"], unit(1), idempotency_key=bad),
        lambda: collection.delete(["a"], idempotency_key=bad),
        lambda: collection.delete_where(Equal("n", 1), idempotency_key=bad),
    ):
        with pytest.raises(InvalidInput, match="idempotency key"):
            call()
    assert collection.count() == 0


def race(collection: Collection, unit, key: str | None) -> int:
    """How many of eight threads that send the same write at once really wrote."""
    start = threading.Barrier(8)

    def send() -> None:
        start.wait()
        assert collection.upsert(["a"], unit(1), idempotency_key=key) == 1

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return collection.get(["a"])[0].version


def test_of_many_at_once_one_writes(collection, unit):
    assert race(collection, unit, "k") == 1


def test_control_without_a_key_all_of_them_write(collection, unit):
    assert race(collection, unit, None) == 8


def test_keys_are_kept_a_day_and_forgotten_after_two(timed, unit, clock):
    timed.upsert(["a"], unit(1), idempotency_key="k")
    clock.goes_on(DAY - 1)
    timed.upsert(["b"], unit(1), idempotency_key="other")
    assert keys(timed) == 2 and timed.upsert(["a"], unit(1), idempotency_key="k") == 1
    assert timed.get(["a"])[0].version == 1
    clock.goes_on(DAY + 1)
    timed.upsert(["c"], unit(1), idempotency_key="third")
    assert keys(timed) == 2  # purged when the next key came
    timed.upsert(["d"], unit(1), idempotency_key="k")


def test_purging_is_spread_over_writes(timed, unit, clock, monkeypatch):
    monkeypatch.setattr(requests, "PURGED", 3)
    for n in range(10):
        timed.delete(["nobody"], idempotency_key=f"k{n}")
    clock.goes_on(3 * DAY)
    for turn, left in enumerate((8, 6, 4, 4, 5)):
        timed.delete(["nobody"], idempotency_key=f"later{turn}")
        assert keys(timed) == left


@pytest.mark.parametrize("jump", [DAY, -DAY, 400 * DAY, -400 * DAY])
def test_a_clock_that_is_set_in_between_loses_no_key_and_no_order(timed, unit, clock, jump):
    timed.upsert(["a"], unit(1), idempotency_key="k")
    clock.is_set(jump)
    timed.upsert(["b"], unit(1), idempotency_key="other")
    assert timed.upsert(["a"], unit(1), idempotency_key="k") == 1
    records = timed.scan()
    assert [(record.id, record.version) for record in records] == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_nor_does_one_that_is_set_while_the_collection_is_closed(timed, unit, clock, jump):
    timed.upsert(["a"], unit(1), idempotency_key="k")
    clock.is_set(jump)
    with reopened(timed) as again:
        again.upsert(["b"], unit(1), idempotency_key="other")
        assert again.upsert(["a"], unit(1), idempotency_key="k") == 1
        assert [(record.id, record.version) for record in again.scan()] == [("a", 1), ("b", 2)]
        clock.goes_on(3 * DAY)  # and time goes on from there
        again.upsert(["c"], unit(1), idempotency_key="third")
        assert keys(again) == 1


def test_control_a_clock_that_jumps_with_the_computers_loses_keys(timed, unit, clock, monkeypatch):
    monkeypatch.setattr(requests.Clock, "now", lambda self: int(clock.wall))
    timed.upsert(["a"], unit(1), idempotency_key="k")
    clock.is_set(400 * DAY)
    timed.upsert(["b"], unit(1), idempotency_key="other")
    timed.upsert(["a"], unit(1), idempotency_key="k")
    assert timed.get(["a"])[0].version == 3


def test_a_write_with_a_key_is_one_transaction(timed, unit, monkeypatch):
    """Key and items are there together or not at all."""

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("polylens.index.changes.remember", fail)
    with pytest.raises(KeyboardInterrupt):
        timed.upsert(["a"], unit(1), idempotency_key="k")
    monkeypatch.undo()
    with reopened(timed) as again:
        assert again.count() == 0 and keys(again) == 0
        assert again.upsert(["a"], unit(1), idempotency_key="k") == 1
        assert np.array_equal(again.get(["a"])[0].vector, unit(1)[0])
