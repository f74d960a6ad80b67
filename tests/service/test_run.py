"""What a server does with its folder before it loads a model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polylens
import pytest
from polylens.index import Store
from polylens.index.errors import CollectionBusy
from polylens.service.run import load_all, open_collections
from polylens.service.settings import Settings


def fill(folder: Path, *names: str) -> None:
    with Store(folder) as store:
        for name in names:
            store.create(name, dim=2, fingerprint="f").upsert(["a"], np.array([[0.6, 0.8]]))


def test_a_folder_that_another_server_uses_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "one", "two")
    with Store(tmp_path) as first:
        first.open("two")
        with pytest.raises(CollectionBusy, match="in use by process"):
            open_collections(str(tmp_path))
    with open_collections(str(tmp_path)) as store:  # nothing was left locked
        assert [entry.error for entry in store.list()] == [None, None]


def test_a_damaged_collection_leaves_the_others_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, "bad", "good")
    database = tmp_path / "bad" / "collection.db"
    database.write_bytes(b"no database" * 1000)
    with open_collections(str(tmp_path)) as store:
        assert [entry.name for entry in store.list() if entry.error is None] == ["good"]
    assert "collection bad cannot be opened" in caplog.text


def test_the_way_of_pictures_to_pixels_is_that_of_the_collections() -> None:
    usual, drafted = (
        load_all(Settings(preprocess=way, device="cpu"))[0] for way in ("service", "service+draft")
    )
    assert usual.fingerprint == polylens.load("mini").fingerprint
    assert drafted.fingerprint == polylens.load("mini", preprocess="service+draft").fingerprint
    assert drafted.fingerprint != usual.fingerprint


# A process that keeps 600,000 objects for good, and of 120,000 cycles the last 9,000 for a while.
CYCLES = """
import collections, gc, sys
from polylens.service import run
alive = peak = 0

class Left:
    def __init__(self):
        global alive
        self.itself, alive = self, alive + 1

    def __del__(self):
        global alive
        alive -= 1

for_good = [{"number": [number]} for number in range(300_000)]
gc.collect()
if sys.argv[1] == "settled":
    run._settle()
recent = collections.deque(maxlen=9_000)
for _ in range(120_000):
    recent.append(Left())
    peak = max(peak, alive)
print(peak - len(recent))
"""


def test_what_calls_leave_in_cycles_is_collected_soon() -> None:
    def waiting(how: str) -> int:
        command = [sys.executable, "-c", CYCLES, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert waiting("settled") < 40_000
    assert waiting("as python does") > 80_000  # the control
