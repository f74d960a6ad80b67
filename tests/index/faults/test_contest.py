"""Adding, deleting, searching, sealing and compacting at once, against brute force."""

import pytest
from polylens.index import approximate, memory
from polylens.tests.index.faults import contest


@pytest.fixture(autouse=True)
def small():
    with contest.small_segments():
        yield


@pytest.mark.parametrize(("factory", "exact"), [("Flat", True), ("IVF4,Flat", True), ("HNSW8", False)])
def test_all_at_once_agrees_with_brute_force(tmp_path, factory, exact, monkeypatch):
    asked = []
    honest = approximate.proposed
    monkeypatch.setattr(approximate, "proposed", lambda *a: (asked.append(1), honest(*a))[1])
    report = contest.run(tmp_path, 2, factory, exact, contest.EXHAUSTIVE if exact else contest.USUAL)
    assert report.errors == [] and report.mismatches == []
    assert min(report.writes, report.searches, report.seals) > 5
    assert bool(asked) == (factory != "Flat")
    assert report.missed <= (0 if exact else 0.02 * report.found)


def test_control_a_new_segment_that_forgets_what_died_meanwhile_is_caught(tmp_path, monkeypatch):
    def forgetful(self, first_row, last_row, new):
        kept = [s for s in self.view.segments if s.row_ids_N[0] > last_row or s.row_ids_N[-1] < first_row]
        segments = sorted([*kept, new], key=lambda s: int(s.row_ids_N[0]))
        self.view = memory.View(tuple(segments), self.view.generation + 1)

    monkeypatch.setattr(memory.Memory, "exchange", forgetful)
    report = contest.run(tmp_path, 20, "Flat")
    assert report.mismatches or report.errors


def test_control_rows_published_before_they_are_written_are_caught(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "Buffer", contest.LateBuffer)
    assert contest.run(tmp_path, 20, "Flat").mismatches
