"""Random operations on a collection and on a dictionary: they never disagree, reopening included."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from polylens.index import Collection, Equal, memory, segment

NAMES = [f"id{n}" for n in range(12)]
VECTORS = np.random.default_rng(0).standard_normal((40, 4))
VECTORS = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).astype(np.float32)
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=8)


class AgainstDictionary(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.collection = Collection.create(self.folder / "c", dim=4, fingerprint="f")
        self.model: dict[str, tuple[int, int]] = {}  # id -> row of VECTORS, group; in the order of writing

    def teardown(self) -> None:
        self.collection.close()
        shutil.rmtree(self.folder)

    @rule(ids=names, first=st.integers(0, 32), group=st.integers(0, 2))
    def upsert(self, ids, first, group):
        rows = range(first, first + len(ids))
        assert self.collection.upsert(
            ids, VECTORS[first : first + len(ids)], [{"group": group}] * len(ids)
        ) == len(set(ids))
        for name, row in zip(ids, rows, strict=True):
            self.model.pop(name, None)
            self.model[name] = (row, group)

    @rule(ids=names)
    def delete(self, ids):
        gone = [self.model.pop(name) for name in set(ids) if name in self.model]
        assert self.collection.delete(ids) == len(gone)

    @rule(ids=names)
    def get(self, ids):
        for name, record in zip(ids, self.collection.get(ids), strict=True):
            assert (record is None) == (name not in self.model)
            if record is not None:
                row, group = self.model[name]
                assert (record.id, record.metadata) == (name, {"group": group})
                assert record.vector.tobytes() == VECTORS[row].tobytes()

    @rule(
        query=st.integers(0, 35),
        count=st.sampled_from([1, 5]),
        k=st.integers(1, 15),
        group=st.integers(-1, 2),
    )
    def search(self, query, count, k, group):
        kept = {name: row for name, (row, its) in self.model.items() if group in (-1, its)}
        queries = VECTORS[query : query + count]
        condition = None if group == -1 else Equal("group", group)
        for asked, hits in zip(queries, self.collection.search(queries, k, condition), strict=True):
            scores = (VECTORS[list(kept.values())].astype(np.float64) @ asked).astype(np.float32)
            order = np.lexsort((np.arange(len(kept)), -scores))[:k]
            assert hits.ids == [list(kept)[n] for n in order]
            assert hits.scores.tobytes() == scores[order].tobytes()
            assert [m["group"] for m in hits.metadata] == [self.model[name][1] for name in hits.ids]

    @rule()
    def reopen(self):
        self.collection.close()
        self.collection = Collection.open(self.folder / "c", fingerprint="f")

    @invariant()
    def the_same_items_in_the_same_order(self):
        assert self.collection.count() == len(self.model)
        assert [record.id for record in self.collection.scan(vectors=False)] == list(self.model)


@pytest.mark.parametrize("restless", [False, True], ids=["as shipped", "small segments, compacted often"])
def test_agrees_with_a_dictionary(restless, monkeypatch):
    if restless:
        monkeypatch.setattr(segment, "WASTE_ROWS", 2)
        monkeypatch.setattr(segment, "SEGMENT_BYTES", 0)
        monkeypatch.setattr(segment, "MIN_ROWS", 5)
        monkeypatch.setattr(memory, "MIN_ROWS", 5)
    checks = settings(
        max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(AgainstDictionary, settings=checks)
