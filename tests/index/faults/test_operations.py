"""Random operations with sealing, compaction, reopening and crashes, against a dictionary."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from polylens.tests.index.faults import operations, script


@pytest.fixture
def scratch() -> Iterator[Path]:
    with script.scratch() as folder:
        yield folder


def test_ten_thousand_operations_agree_with_a_dictionary(scratch):
    outcome = operations.lives(10_000, scratch, seed=1, length=2_500)
    assert outcome.disagreed == [] and outcome.operations == 10_000 and outcome.crashes >= 4


def test_control_a_delete_that_is_not_stored_is_noticed(scratch):
    assert operations.lives(10_000, scratch, seed=1, careless=True).disagreed
