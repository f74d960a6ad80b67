"""Killed at any moment, a collection keeps every acknowledged write, and of others only one under way."""

import importlib.util
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from polylens.index import Collection

CHILD = Path(__file__).with_name("killed_child.py")
THREADS = 2


def load_child():
    spec = importlib.util.spec_from_file_location("killed_child", CHILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def forker() -> Iterator[subprocess.Popen]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    yield process
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=30)


def run_and_kill(forker, folder: Path, mode: str, starts: list[int], acks: int, delay: float) -> list[int]:
    """How many operations of each thread are acknowledged, after a kill some seconds after some acks."""
    print(folder, mode, *starts, file=forker.stdin, flush=True)
    done = list(starts)
    word, process, *_ = forker.stdout.readline().split()
    assert word == "child"
    seen = 0
    while True:
        if seen == acks:
            time.sleep(delay)
            os.kill(int(process), signal.SIGKILL)
        word, thread, *number = forker.stdout.readline().split()
        if word == "end":
            assert seen >= acks
            return done
        done[int(thread)] = int(number[0]) + 1
        seen += 1


def survived(folder: Path, acknowledged: list[int]) -> list[int] | None:
    """How many operations of each thread the collection holds; None if that is not what was acknowledged.

    One more than acknowledged is right: it was under way. The items are compared whole: ids, vectors,
    metadata.
    """
    states = load_child().states
    with Collection.open(folder) as collection:
        records = collection.scan(limit=10_000)
        found = {record.id: (record.vector.tobytes(), record.metadata["number"]) for record in records}
        assert collection.count() == len(records)
        for record in records:  # searchable, not only stored
            assert collection.search(record.vector[None], k=1)[0][0].score == pytest.approx(1, abs=1e-6)
    kept = []
    for thread, count in enumerate(acknowledged):
        mine = {id: item for id, item in found.items() if id.startswith(f"{thread}-")}
        allowed = itertools.islice(states(thread), count, count + 2)
        matching = [count + n for n, state in enumerate(allowed) if state == mine]
        if not matching:
            return None
        kept.append(matching[-1])
    return kept


def test_nothing_acknowledged_is_lost(tmp_path: Path, forker):
    generator = random.Random(1)
    Collection.create(tmp_path / "c", dim=4, fingerprint="f").close()
    done, total = [0] * THREADS, 0
    for turn in range(15):
        acks = [0, 1, 40, 3, 17][turn % 5]  # 0: perhaps killed while it opens
        total += acks
        acknowledged = run_and_kill(forker, tmp_path / "c", "honest", done, acks, generator.uniform(0, 0.05))
        kept = survived(tmp_path / "c", acknowledged)
        assert kept is not None, (
            f"acknowledged {acknowledged} operations, which the reopened collection does not hold"
        )
        done = kept
    assert sum(done) >= total and min(done) > 10


def test_control_acknowledging_before_the_commit_is_caught(tmp_path: Path, forker):
    Collection.create(tmp_path / "c", dim=4, fingerprint="f").close()
    done = [0] * THREADS
    for _ in range(20):
        acknowledged = run_and_kill(forker, tmp_path / "c", "hasty", done, 3, 0)
        kept = survived(tmp_path / "c", acknowledged)
        if kept is None:
            return
        done = kept
    pytest.fail("twenty kills of a writer that acknowledges too early, and no loss was seen")
