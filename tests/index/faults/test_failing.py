"""A full disk refuses and recovers; a failed sync ends writing; at every call where either may come."""

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from polylens.index.database import Database
from polylens.index.writer import Writer
from polylens.tests.index.faults import failing, script


@pytest.fixture
def scratch() -> Iterator[Path]:
    with script.scratch() as folder:
        yield folder


def test_a_disk_full_at_any_call_refuses_and_recovers_by_itself(scratch):
    swept = failing.full_disk(range(25), scratch, stride=3, seed=1)
    assert swept.operations == 25 and swept.faults > 60


def test_a_sync_that_fails_ends_writing_and_loses_nothing(scratch):
    swept = failing.failing_syncs(range(25), scratch)
    assert swept.operations == 25 and swept.faults > 60


def test_control_a_writer_that_goes_on_after_a_failed_sync_is_noticed(scratch):
    with (
        mock.patch.object(Writer, "_refuse", lambda *_: None),
        pytest.raises(AssertionError, match="after it"),
    ):
        failing.failing_syncs(range(3), scratch)


def test_control_a_full_disk_that_is_taken_for_a_failure_is_noticed(scratch):
    def undone(self: Database) -> None:
        raise OSError("there is room")

    with (
        mock.patch.object(Database, "require_room", undone),
        pytest.raises(Exception, match="room|another state"),
    ):
        failing.full_disk(range(3), scratch)
