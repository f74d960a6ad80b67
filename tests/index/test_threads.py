"""Many threads: each search sees one state, no older than what was acknowledged before it."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from polylens.index import Collection, memory, segment

WIDTH, IDS = 8, 120


class Journal:
    """Every state the writer went through; `started` of them may be visible, `done` must be."""

    def __init__(self) -> None:
        self.states: list[dict[str, np.ndarray]] = [{}]
        self.started = self.done = 0

    def record(self, state: dict[str, np.ndarray], write: Callable[[], object]) -> None:
        self.states.append(state)
        self.started += 1
        write()
        self.done += 1


def run_writer(collection: Collection, journal: Journal, until: float) -> None:
    generator = np.random.default_rng(0)
    while time.monotonic() < until:
        names = [f"id{n}" for n in generator.choice(IDS, generator.integers(1, 30), replace=False)]
        state = dict(journal.states[-1])
        for name in names:
            state.pop(name, None)  # the order of the dictionary is the order of the row ids
        if generator.random() < 0.2:
            journal.record(state, lambda names=names: collection.delete(names))
            continue
        vectors = generator.standard_normal((len(names), WIDTH))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        state.update(zip(names, vectors, strict=True))
        journal.record(
            state, lambda names=names, v=vectors: collection.upsert(names, v, [{"id": n} for n in names])
        )


def run_searcher(collection: Collection, journal: Journal, until: float, seed: int, log: list) -> None:
    generator = np.random.default_rng(seed)
    while time.monotonic() < until:
        queries = generator.standard_normal((int(generator.choice([1, 6])), WIDTH))
        queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
        oldest = journal.done
        found = collection.search(queries, k=int(generator.choice([5, 200])))
        log.append((oldest, journal.started, queries, found))


def explained(entry, states) -> bool:
    """Whether one single state within the bounds gives exactly these hits for all queries of the search."""
    oldest, newest, queries, found = entry
    return any(gives(state, queries, found) for state in states[oldest : newest + 1])


def gives(state, queries, found) -> bool:
    names, vectors = list(state), np.array(list(state.values())).reshape(-1, WIDTH)
    for query, hits in zip(queries, found, strict=True):
        scores = (vectors.astype(np.float64) @ query).astype(np.float32)
        order = np.lexsort((np.arange(len(names)), -scores))[: len(hits)]
        if len(hits) < min(5, len(names)) or hits.ids != [names[n] for n in order]:
            return False
        if hits.scores.tobytes() != scores[order].tobytes() or [m["id"] for m in hits.metadata] != hits.ids:
            return False
    return True


def contest(collection: Collection, seconds: float) -> tuple[Journal, list]:
    journal, log, errors = Journal(), [], []

    def guarded(function, *arguments):
        try:
            function(*arguments)
        except BaseException as error:
            errors.append(error)

    until = time.monotonic() + seconds
    threads = [threading.Thread(target=guarded, args=(run_writer, collection, journal, until))]
    for seed in (1, 2):
        arguments = (run_searcher, collection, journal, until, seed, log)
        threads.append(threading.Thread(target=guarded, args=arguments))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return journal, log


@pytest.fixture
def restless(monkeypatch) -> None:
    """Small segments, compacted often, so that a few seconds see much movement."""
    monkeypatch.setattr(segment, "WASTE_ROWS", 10)
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 0)
    monkeypatch.setattr(segment, "MIN_ROWS", 64)
    monkeypatch.setattr(memory, "MIN_ROWS", 64)


def test_searches_while_writing_equal_brute_force_on_one_state(collection, restless):
    journal, log = contest(collection, 3)
    assert len(log) > 20 and journal.done > 20
    assert collection._memory.view.generation > 0
    assert [entry for entry in log if not explained(entry, journal.states)] == []


def test_control_a_write_published_in_two_steps_is_caught(collection, restless, monkeypatch):
    honest = memory.Memory.apply

    def in_two_steps(self, batches, dead_K):
        honest(self, [], dead_K)
        time.sleep(0.002)
        honest(self, batches, dead_K[:0])
        honest(self, [], dead_K)

    monkeypatch.setattr(memory.Memory, "apply", in_two_steps)
    for _ in range(5):
        journal, log = contest(collection, 1)
        if not all(explained(entry, journal.states) for entry in log):
            return
        collection.delete([f"id{n}" for n in range(IDS)])  # the journal begins with nothing
    pytest.fail("torn writes were not seen")


def test_concurrent_writers_share_one_commit(collection, unit, monkeypatch, while_writing):
    commits = []
    transaction = collection._database.transaction

    def counted():
        commits.append(1)
        return transaction()

    monkeypatch.setattr(collection._database, "transaction", counted)
    vectors = unit(8)
    jobs = [
        threading.Thread(target=collection.upsert, args=([f"id{n}"], vectors[n : n + 1])) for n in range(8)
    ]
    jobs.append(threading.Thread(target=collection.delete, args=(["id0"],)))
    with while_writing(collection, jobs):
        assert collection.count() == 0  # nothing is visible before it is durable
    assert len(commits) == 1
    assert sorted(record.id for record in collection.scan()) == [f"id{n}" for n in range(1, 8)]


def test_writers_of_the_same_ids_leave_one_item_each(collection, unit):
    def write(seed: int) -> None:
        for turn in range(10):
            collection.upsert(list("abcd"), unit(4, seed=seed * 100 + turn), [{"writer": seed}] * 4)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = collection.scan()
    assert sorted(record.id for record in records) == list("abcd") and collection.count() == 4
    assert len({record.metadata["writer"] for record in records}) == 1  # one upsert was the last, whole
    for record in records:
        assert collection.search(record.vector[None], k=1)[0].ids == [record.id]


def test_who_asked_first_has_the_turn_first(collection, unit):
    """Sealing asks for turns of its own; one that writes without a pause does not starve it."""
    writer, order = collection._writer, []

    def write(name):
        collection.upsert([name], unit(1))
        order.append(name)

    def seal():
        with writer.exclusive():
            order.append("seal")

    writer._busy = True
    sealing, late = threading.Thread(target=seal), threading.Thread(target=write, args=("b",))
    sealing.start()
    while not writer._line:
        time.sleep(0.001)
    with writer._turn:
        writer._busy = False  # the turn is free before anybody who waits has heard of it
    late.start()
    time.sleep(0.05)
    with writer._turn:
        writer._turn.notify_all()
    for job in (sealing, late):
        job.join()
    assert order == ["seal", "b"] and writer._line == []
