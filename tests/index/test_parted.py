"""Indexes built in parts by several processes: the same answers, and a broken-off build goes on."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.index import Bulk, Collection, parted, verify
from polylens.index.errors import CorruptCollection

WIDTH, ROWS, PARTS = 16, 2_500, 3
FACTORY = "IVF8,PQ4x6"


def silent(*_):
    pass


@pytest.fixture
def collection(tmp_path, unit):
    with Collection.create(tmp_path / "c", dim=WIDTH, fingerprint="f", index="Flat") as made:
        for number in range(PARTS):
            ids = [f"{number}-{n}" for n in range(ROWS)]
            made.adopt(Bulk(str(number), ids, ["{}"] * ROWS, unit(ROWS, WIDTH, seed=number)))
        made.delete(["1-0", "1-1"])
        yield made


def recall(collection, unit):
    queries = unit(40, WIDTH, seed=99)
    exact = collection.range_search(queries, -1, 10)
    found = collection.search(queries, 10)
    return np.mean([len({*a.ids} & {*b.ids}) / 10 for a, b in zip(exact, found, strict=True)])


def test_every_segment_gets_an_index_of_one_training(collection, unit):
    assert parted.build(collection, FACTORY, 2, silent) == PARTS
    state = collection.info()
    assert [s.factory for s in state.segments] == [FACTORY] * PARTS and state.dead == 0
    assert collection.count() == PARTS * ROWS - 2 and not (collection.path / "build").exists()
    assert recall(collection, unit) > 0.97
    assert parted.build(collection, FACTORY, 0, silent) == 0  # nothing is left to do
    collection.configure(FACTORY)
    collection.close()
    with Collection.open(collection.path) as again:
        assert again.info().degraded == [] and recall(again, unit) > 0.97
    assert verify(collection.path).findings == []


def test_a_worker_that_is_killed_costs_one_segment(collection, unit, monkeypatch):
    """Its claim stands in the way until it is stale; then another fills the segment."""
    command = [sys.executable, "-c", SLOW_WORKER, str(collection.path)]
    honest = parted._prepare

    def prepare(folder, plan, parts, progress):
        honest(folder, plan, parts, progress)
        worker = subprocess.Popen(command)
        while not list(folder.glob("*.claim")):
            time.sleep(0.01)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        assert len(list(folder.glob("*.claim"))) == 1

    monkeypatch.setattr(parted, "_prepare", prepare)
    monkeypatch.setattr(parted, "STALE_SECONDS", 0.5)
    assert parted.build(collection, FACTORY, 0, silent) == PARTS
    assert recall(collection, unit) > 0.97


SLOW_WORKER = """
import sys, time
from pathlib import Path
from polylens.index import parted
parted.filled = lambda *_: time.sleep(60)
parted.work(Path(sys.argv[1]), lambda *_: None)
"""


def test_a_build_goes_on_where_it_was_and_another_begins_anew(collection, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(parted, "_made", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        parted.build(collection, FACTORY, 0, silent)
    assert len(list((collection.path / "build").glob("unit-*.faiss"))) == PARTS
    with monkeypatch.context() as patched:
        patched.setattr(parted, "filled", lambda *_: pytest.fail("a part was filled again"))
        assert parted.build(collection, FACTORY, 0, silent) == PARTS
    assert parted.build(collection, "IVF8,Flat", 0, silent) == PARTS


def test_a_damaged_part_is_not_put_in_place(collection, monkeypatch):
    honest = parted._wait

    def wait(folder, plan, progress):
        honest(folder, plan, progress)
        path = next(folder.glob("unit-*.faiss"))
        path.write_bytes(path.read_bytes()[:-1] + b"x")

    monkeypatch.setattr(parted, "_wait", wait)
    with pytest.raises(CorruptCollection, match="checksum"):
        parted.build(collection, FACTORY, 0, silent)
    assert collection.count() == PARTS * ROWS - 2


def test_joining_needs_a_build(tmp_path):
    with pytest.raises(InvalidInput, match="nobody leads"):
        parted.work(tmp_path, silent)
