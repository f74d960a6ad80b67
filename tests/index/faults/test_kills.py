"""Killed at any moment, a collection keeps every acknowledged write, and of others only the one under way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from polylens.tests.index.faults import kills, recovery, script


@pytest.fixture
def scratch() -> Iterator[Path]:
    with script.scratch() as folder:
        yield folder


def test_a_hundred_kills_lose_nothing(scratch):
    outcome = kills.random_kills(100, scratch, seed=1)
    assert outcome.lost == [] and outcome.kills == 100
    assert outcome.while_opening > 3 and outcome.operations > 200


def test_control_acknowledging_before_the_commit_is_noticed(scratch):
    outcome = kills.random_kills(40, scratch, seed=1, hasty=True)
    assert "acknowledged" in outcome.lost[0]


def test_kills_around_calls(scratch):
    """Around about every eighth call of every kind of operation; the full tier tries them all."""
    swept = kills.kills_around_every_call(range(25), scratch, stride=8, seed=1)
    assert swept.operations == 25 and swept.faults > 80


def test_two_hundred_kills_while_opening(scratch):
    outcome = recovery.storm(200, scratch, seed=1)
    assert outcome.kills == 200 and outcome.finished < 200
    # Openings that were broken off twice leave a segment aside, sound as it may be; sealing mends that.
    assert all("broke off" in sentence for sentence in recovery.check(scratch / "c"))


def test_a_segment_that_kills_its_readers_is_set_aside_after_two_tries(scratch):
    assert recovery.planted(scratch, tries=4) == (2, 1)


def test_control_uncounted_openings_die_for_ever(scratch):
    assert recovery.planted(scratch, tries=4, counted=False) == (4, 0)
