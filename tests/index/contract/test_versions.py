"""`if_version`: a write happens only on the item its writer saw."""

import threading

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.index import AnyCollection
from polylens.index.errors import VersionConflict, again


def version(collection: AnyCollection, id: str) -> int:
    record = collection.get([id], vectors=False)[0]
    return record.version if record else 0


def test_only_the_expected_version_is_replaced(collection, unit):
    assert collection.upsert(["a"], unit(1), if_version=[0]) == 1
    first = version(collection, "a")
    assert collection.upsert(["a"], unit(1, seed=1), if_version=[first]) == 1
    second = version(collection, "a")
    assert second > first
    with pytest.raises(
        VersionConflict, match=f"'a' has version {second}, expected version {first}"
    ) as raised:
        collection.upsert(["a"], unit(1, seed=2), if_version=[first])
    error = raised.value
    assert (error.id, error.current, error.expected) == ("a", second, first)
    assert str(again(error)) == str(error)
    with pytest.raises(VersionConflict, match="expected none"):
        collection.upsert(["a"], unit(1, seed=2), if_version=[0])
    with pytest.raises(VersionConflict, match="'b' is not there, expected version 7"):
        collection.upsert(["b"], unit(1), if_version=[7])
    assert version(collection, "a") == second and collection.count() == 1


def test_one_conflict_refuses_the_whole_call_and_none_means_any(collection, unit):
    collection.upsert(["a", "b"], unit(2))
    held = version(collection, "a")
    with pytest.raises(VersionConflict, match="'c'"):
        collection.upsert(["a", "b", "c"], unit(3, seed=1), if_version=[held, None, 5])
    assert collection.count() == 2 and version(collection, "a") == held
    assert collection.upsert(["a", "b", "c"], unit(3, seed=1), if_version=[held, None, 0]) == 3


def test_a_deleted_item_has_no_version_and_an_old_one_is_never_valid_again(places, unit):
    store = places()
    collection = store.create("birds", dim=8, fingerprint="model-a")
    collection.upsert(["a"], unit(1))
    old = version(collection, "a")
    assert collection.delete(["a", "ghost"], if_version=[old, None]) == 1
    with pytest.raises(VersionConflict, match="not there"):
        collection.upsert(["a"], unit(1), if_version=[old])
    store.close()
    reopened = places().open("birds")
    reopened.upsert(["a"], unit(1), if_version=[0])
    with pytest.raises(VersionConflict):
        reopened.delete(["a"], if_version=[old])
    assert reopened.count() == 1


@pytest.mark.parametrize("bad", [[-1], [True], [1.5], ["1"], [2**63], [0, 0], []], ids=repr)
def test_bad_versions_are_refused(collection, unit, bad):
    with pytest.raises(InvalidInput):
        collection.upsert(["a"], unit(1), if_version=bad)
    with pytest.raises(InvalidInput):
        collection.delete(["a"], if_version=bad)
    with pytest.raises(InvalidInput, match="'a' comes twice"):
        collection.upsert(["a", "a"], unit(2), if_version=[0, None])
    assert collection.count() == 0


def increment(collection: AnyCollection, key: str, vector: np.ndarray, guarded: bool) -> bool:
    """Adds one to a counter kept in an item's metadata, as a client would; whether it was written."""
    record = collection.get([key], vectors=False)[0]
    number, held = (record.metadata["n"], record.version) if record else (0, 0)
    try:
        collection.upsert([key], vector, [{"n": number + 1}], if_version=[held] if guarded else None)
    except VersionConflict:
        return False
    return True


@pytest.mark.parametrize("guarded", [True, False], ids=["if_version", "control: without"])
def test_racing_writers_lose_no_update(collection, unit, guarded):
    """Per key linearizable: every increment that was acknowledged counts exactly once."""
    keys, done = ["x", "y", "z"], []
    start = threading.Barrier(4)

    def race(seed: int) -> None:
        generator = np.random.default_rng(seed)
        start.wait()
        for _ in range(60):
            key = keys[generator.integers(3)]
            if increment(collection, key, unit(1, seed=seed), guarded):
                done.append(key)

    threads = [threading.Thread(target=race, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = {record.id: record.metadata["n"] for record in collection.scan()}
    assert (counted == {key: done.count(key) for key in keys}) == guarded
    assert len(done) < 240 or not guarded  # there were conflicts to settle
