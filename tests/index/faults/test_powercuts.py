"""After a power cut nothing acknowledged is missing, whichever unsynced writes the disk kept or tore."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from polylens.tests.index.faults import disk, powercuts, script


@pytest.fixture
def scratch() -> Iterator[Path]:
    with script.scratch() as folder:
        yield folder


def test_two_hundred_power_cuts_lose_nothing(scratch):
    outcome = powercuts.power_cuts(200, 40, scratch, seed=1)
    assert outcome.cuts == 200 and outcome.lost == []
    assert outcome.degraded == 0  # no segment that a transaction names was missing or damaged either
    assert outcome.calls > 400 and 0 < outcome.before_creation < 50


def test_control_commits_that_are_not_synced_lose_rows(scratch):
    outcome = powercuts.power_cuts(60, 40, scratch, seed=1, pragmas=powercuts.careless)
    assert len(outcome.lost) > 20


def test_control_files_and_folders_that_are_not_synced_are_missed(scratch):
    outcome = powercuts.power_cuts(60, 40, scratch, seed=1, files=powercuts.ForgetfulFiles)
    assert len(outcome.lost) > 10 and outcome.degraded > 5


def test_the_disk_forgets_exactly_what_was_not_synced(tmp_path):
    """The model itself: synced content and names stay, of the rest every subset occurs, torn writes too."""
    journal = disk.Journal(tmp_path)
    for name in ("kept", "lost"):
        journal.create(tmp_path / name)
        journal.write(tmp_path / name, 0, b"a" * 1_000)
    journal.sync(tmp_path / "kept")
    journal.sync(tmp_path)
    journal.write(tmp_path / "kept", 0, b"b" * 1_000)
    journal.rename(tmp_path / "lost", tmp_path / "renamed")
    platter = disk.Platter()
    for call in journal.calls:
        platter.play(call)
    generator = random.Random(1)
    images = [platter.image(generator) for _ in range(500)]
    assert {image["kept"] for image in images} == {
        b"a" * 1_000, b"b" * 1_000, b"a" * 512 + b"b" * 488, b"b" * 512 + b"a" * 488
    }  # fmt: skip
    names = [sorted(image) for image in images]
    assert {tuple(each) for each in names} == {("", "kept", "lost"), ("", "kept", "renamed")}
    assert {b"", b"a" * 1_000} < {image.get("lost", b"") for image in images}
