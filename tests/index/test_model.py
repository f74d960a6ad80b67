"""Random operations on a collection and on a dictionary: they never disagree, reopening included."""

import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from polylens.index import Collection, Equal, memory, segment
from polylens.index.errors import IdempotencyConflict, VersionConflict

NAMES = [f"id{n}" for n in range(12)]
VECTORS = np.random.default_rng(0).standard_normal((40, 4))
VECTORS = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).astype(np.float32)
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=8)
groups = st.integers(0, 2)
keys = st.sampled_from([None, None, "k1", "k2"])


class AgainstDictionary(RuleBasedStateMachine):
    """The model: id -> row of VECTORS, group, version, in the order of writing; and each key's answer."""

    kind = ("cosine", "float32")

    def __init__(self) -> None:
        super().__init__()
        metric, dtype = self.kind
        self.folder = Path(tempfile.mkdtemp())
        self.collection = Collection.create(
            self.folder / "c", dim=4, fingerprint="f", metric=metric, dtype=dtype
        )
        self.vectors = VECTORS * (3 if metric == "inner_product" else np.float32(1))
        self.stored = self.vectors.astype(dtype).astype(np.float64)
        self.model: dict[str, tuple[int, int, int]] = {}
        self.answers: dict[str, tuple[object, int]] = {}
        self.next_version = 1

    def teardown(self) -> None:
        self.collection.close()
        shutil.rmtree(self.folder)

    def once(self, key, asked, write, change):
        """Does `write` to the collection and `change` to the model, unless the key says it was done."""
        if key in self.answers and self.answers[key][0] != asked:
            with pytest.raises(IdempotencyConflict):
                write()
            return
        expected = self.answers[key][1] if key in self.answers else change()
        assert write() == expected
        if key is not None:
            self.answers[key] = (asked, expected)

    def put(self, ids, first, group) -> int:
        last = {name: row for row, name in enumerate(ids)}
        for name, row in sorted(last.items(), key=lambda item: item[1]):
            self.model.pop(name, None)
            self.model[name] = (first + row, group, self.next_version)
            self.next_version += 1
        return len(last)

    def drop(self, ids) -> int:
        return len([self.model.pop(name) for name in set(ids) if name in self.model])

    @rule(ids=names, first=st.integers(0, 32), group=groups, key=keys)
    def upsert(self, ids, first, group, key):
        vectors, metadata = self.vectors[first : first + len(ids)], [{"group": group}] * len(ids)
        self.once(
            key,
            ("upsert", self.put_in_effect(ids, first), group),
            lambda: self.collection.upsert(ids, vectors, metadata, idempotency_key=key),
            lambda: self.put(ids, first, group),
        )

    def put_in_effect(self, ids, first) -> list:
        """What an upsert comes to where an id is given twice."""
        last = {name: first + row for row, name in enumerate(ids)}
        return sorted((row, name) for name, row in last.items())

    @rule(
        ids=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True),
        group=groups,
        guesses=st.lists(st.sampled_from(["right", "right", "right", "none", "any", "old"]), min_size=4),
        remove=st.booleans(),
    )
    def change_if_version(self, ids, group, guesses, remove):
        current = [self.model[name][2] if name in self.model else 0 for name in ids]
        meant = {
            "right": lambda v: v,
            "none": lambda v: 0,
            "any": lambda v: None,
            "old": lambda v: max(v - 1, 0),
        }
        expected = [meant[guess](version) for guess, version in zip(guesses, current, strict=False)]
        wrong = [
            (name, version, guess)
            for name, version, guess in zip(ids, current, expected, strict=True)
            if guess is not None and guess != version
        ]

        def write() -> int:
            if remove:
                return self.collection.delete(ids, if_version=expected)
            vectors = self.vectors[: len(ids)]
            return self.collection.upsert(ids, vectors, [{"group": group}] * len(ids), if_version=expected)

        if wrong:
            with pytest.raises(VersionConflict) as raised:
                write()
            assert (raised.value.id, raised.value.current, raised.value.expected) == wrong[0]
        else:
            assert write() == (self.drop(ids) if remove else self.put(ids, 0, group))

    @rule(ids=names, key=keys)
    def delete(self, ids, key):
        self.once(
            key,
            ("delete", ids),
            lambda: self.collection.delete(ids, idempotency_key=key),
            lambda: self.drop(ids),
        )

    @rule(group=groups, key=keys)
    def delete_where(self, group, key):
        self.once(
            key,
            ("where", group),
            lambda: self.collection.delete_where(Equal("group", group), idempotency_key=key),
            lambda: self.drop([name for name, (_, its, _) in self.model.items() if its == group]),
        )

    @rule(ids=names)
    def get(self, ids):
        for name, record in zip(ids, self.collection.get(ids), strict=True):
            assert (record is None) == (name not in self.model)
            if record is not None:
                row, group, version = self.model[name]
                assert (record.id, record.metadata, record.version) == (name, {"group": group}, version)
                assert record.vector.astype(np.float64).tobytes() == self.stored[row].tobytes()

    def scores(self, kept, asked):
        """Of each of these items for the query, by the model; and the items from the best to the worst."""
        scores = (self.stored[list(kept.values())] @ asked.astype(np.float64)).astype(np.float32)
        return scores, np.lexsort((np.arange(len(kept)), -scores))

    @rule(
        query=st.integers(0, 35),
        count=st.sampled_from([1, 5]),
        k=st.integers(1, 15),
        group=st.integers(-1, 2),
        threshold=st.sampled_from([None, None, 0.0, 0.7]),
    )
    def search(self, query, count, k, group, threshold):
        kept = {name: row for name, (row, its, _) in self.model.items() if group in (-1, its)}
        queries = self.vectors[query : query + count]
        condition = None if group == -1 else Equal("group", group)
        if threshold is None:
            found = self.collection.search(queries, k, condition)
        else:
            found = self.collection.range_search(queries, threshold, k, condition)
        for asked, hits in zip(queries, found, strict=True):
            scores, order = self.scores(kept, asked)
            order = [n for n in order[:k] if threshold is None or scores[n] >= np.float32(threshold)]
            assert hits.ids == [list(kept)[n] for n in order]
            assert hits.scores.tobytes() == scores[order].tobytes()
            assert [m["group"] for m in hits.metadata] == [self.model[name][1] for name in hits.ids]

    @rule(query=st.integers(0, 39), k=st.integers(1, 5))
    def diverse_search(self, query, k):
        (hits,) = self.collection.search(self.vectors[query : query + 1], k, diversity=0.5)
        assert len(set(hits.ids)) == len(hits) == min(k, len(self.model))
        scores, order = self.scores(
            {name: row for name, (row, _, _) in self.model.items()}, self.vectors[query]
        )
        if len(hits):
            assert hits.ids[0] == list(self.model)[order[0]]

    @rule(threshold=st.sampled_from([0.5, 0.9, 0.999]))
    def near_duplicates(self, threshold):
        rows = {name: self.stored[row] for name, (row, _, _) in self.model.items()}
        lengths = {name: np.linalg.norm(row) if self.kind[0] != "cosine" else 1 for name, row in rows.items()}
        likeness = {
            (a, b): np.float32(rows[a] @ rows[b] / (lengths[a] * lengths[b]))
            for a, b in itertools.combinations(rows, 2)
        }
        found = {(pair.id_a, pair.id_b) for pair in self.collection.near_duplicates(threshold)}
        assert found >= {pair for pair, score in likeness.items() if score >= threshold + 1e-6}
        assert found <= {pair for pair, score in likeness.items() if score >= threshold - 1e-6}

    @rule(limit=st.integers(1, 4), group=groups)
    def walk(self, limit, group):
        seen, after = [], 0
        while page := self.collection.scan(limit, after, vectors=False, filter=Equal("group", group)):
            seen += [record.id for record in page]
            after = page[-1].version
        assert seen == [name for name, (_, its, _) in self.model.items() if its == group]
        assert self.collection.count(Equal("group", group)) == len(seen)

    @rule()
    def reopen(self):
        self.collection.close()
        self.collection = Collection.open(self.folder / "c", fingerprint="f")

    @rule()
    def seal(self):
        self.collection.seal()

    @rule()
    def compact(self):
        self.collection.compact()

    @invariant()
    def the_same_items_in_the_same_order(self):
        assert self.collection.count() == len(self.model)
        assert [record.id for record in self.collection.scan(vectors=False)] == list(self.model)


class OfInnerProducts(AgainstDictionary):
    kind = ("inner_product", "float16")


@pytest.mark.parametrize("machine", [AgainstDictionary, OfInnerProducts], ids=lambda cls: " ".join(cls.kind))
@pytest.mark.parametrize("restless", [False, True], ids=["as shipped", "small segments, compacted often"])
def test_agrees_with_a_dictionary(restless, machine, monkeypatch):
    if restless:
        monkeypatch.setattr(segment, "WASTE_ROWS", 2)
        monkeypatch.setattr(segment, "SEGMENT_BYTES", 0)
        monkeypatch.setattr(segment, "MIN_ROWS", 5)
        monkeypatch.setattr(memory, "MIN_ROWS", 5)
    checks = settings(
        max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(machine, settings=checks)


def test_control_a_collection_that_forgets_a_deletion_is_caught(monkeypatch):
    honest = memory.Memory.apply
    monkeypatch.setattr(memory.Memory, "apply", lambda self, batches, dead: honest(self, batches, dead[:0]))
    checks = settings(
        max_examples=20,
        stateful_step_count=20,
        deadline=None,
        phases=[Phase.generate],  # one failure is enough, it need not be the shortest
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(AgainstDictionary, settings=checks)
