"""No damaged file of a segment is accepted, and none changes an answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from polylens.tests.index.faults import mutations, script


@pytest.fixture
def scratch() -> Iterator[Path]:
    with script.scratch() as folder:
        yield folder


def test_twenty_thousand_damaged_files_are_refused(scratch):
    outcome = mutations.mutate(20_000, scratch, seed=1)
    assert outcome.files == 20_000 and outcome.openings == 80
    assert outcome.accepted == [] and outcome.wrong == []


def test_control_without_the_checksum_many_are_accepted(scratch):
    assert mutations.control(400, scratch, seed=1) > 100
