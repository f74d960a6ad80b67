"""`if_version`: a write happens only on the item its writer saw; a conflict hurts nobody else."""

import threading

import numpy as np
from polylens.index import changes
from polylens.index.errors import VersionConflict


def group_commit(collection, unit, while_writing) -> list:
    """Four writers in one commit, of which the third expects a version that nobody has: what each met."""
    outcomes: list = [None] * 4

    def write(n: int, expected: int | None) -> None:
        try:
            outcomes[n] = collection.upsert([f"id{n}"], unit(1, seed=n), if_version=[expected])
        except Exception as error:
            outcomes[n] = error

    jobs = [threading.Thread(target=write, args=(n, expected)) for n, expected in enumerate([0, None, 77, 0])]
    with while_writing(collection, jobs):
        pass
    return outcomes


def test_a_conflict_fails_only_its_own_call(collection, unit, while_writing):
    outcomes = group_commit(collection, unit, while_writing)
    assert isinstance(outcomes.pop(2), VersionConflict)
    assert outcomes == [1, 1, 1]
    assert sorted(record.id for record in collection.scan()) == ["id0", "id1", "id3"]


def test_control_a_conflict_that_ends_the_transaction_fails_its_neighbours(
    collection, unit, while_writing, monkeypatch
):
    honest = changes.write

    def strict(connection, several, now):
        added = honest(connection, several, now)
        for change in several:
            if change.error:
                raise change.error
        return added

    monkeypatch.setattr("polylens.index.writer.write", strict)
    outcomes = group_commit(collection, unit, while_writing)
    assert 1 not in outcomes and collection.count() == 0


def test_later_changes_of_a_commit_see_the_earlier_ones(collection, unit, while_writing):
    outcomes = []

    def create(n: int) -> None:
        try:
            outcomes.append((n, collection.upsert(["same"], unit(1, seed=n), if_version=[0])))
        except VersionConflict as error:
            outcomes.append((n, error.current))

    with while_writing(collection, [threading.Thread(target=create, args=(n,)) for n in range(4)]):
        pass
    won = [n for n, result in outcomes if result == 1 and n == 0]
    assert won == [0]  # the first in the queue
    assert np.array_equal(collection.get(["same"])[0].vector, unit(1, seed=0)[0])
