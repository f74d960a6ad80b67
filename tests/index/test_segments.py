"""Whatever was written, deleted, sealed and reopened: indexes find what a fresh exact search finds."""

import numpy as np
import pytest
from polylens.index import Collection, In, faiss_build, plan, policy
from polylens.index.plan import Effort

WIDTH, IDS, STEPS = 16, 1_500, 14
CENTRES = np.random.default_rng(0).standard_normal((30, WIDTH))
FILTERS = [None, In("group", (0, 1, 2, 3, 4)), In("group", (5,))]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Segments of any size get an index, and it is asked rather than scanned."""
    monkeypatch.setattr(faiss_build, "MIN_POINTS_PER_LIST", 2)
    monkeypatch.setattr(plan, "scan_cost", lambda *arguments: np.inf)


class Wanderer:
    """A collection and a dictionary that go through the same random changes."""

    def __init__(self, path, factory, seed, dtype):
        self.path, self.generator = path, np.random.default_rng(seed)
        self.model = {}  # id -> vector, group; in the order of writing
        self.collection = Collection.create(path, dim=WIDTH, fingerprint="f", index=factory, dtype=dtype)

    def vectors(self, count):
        found = CENTRES[self.generator.integers(0, 30, count)]
        found = found + 0.6 * self.generator.standard_normal((count, WIDTH))
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def upsert(self):
        chosen = [
            f"id{n}" for n in self.generator.choice(IDS, self.generator.integers(100, 500), replace=False)
        ]
        vectors = self.vectors(len(chosen))
        groups = self.generator.integers(0, 10, len(chosen)).tolist()
        self.collection.upsert(chosen, vectors, [{"group": group} for group in groups])
        for name, vector, group in zip(chosen, vectors, groups, strict=True):
            self.model.pop(name, None)
            self.model[name] = vector, group

    def delete(self):
        chosen = [
            f"id{n}" for n in self.generator.choice(IDS, self.generator.integers(1, 250), replace=False)
        ]
        assert self.collection.delete(chosen) == sum(
            self.model.pop(name, None) is not None for name in chosen
        )

    def seal(self):
        self.collection.seal()
        assert self.collection.info().tail == 0

    def tidy(self):
        """One round of what the background thread does."""
        self.collection.sealing.run(
            lambda view: policy.due(self.collection._policy, view), self.collection._policy
        )

    def compact(self):
        self.collection.compact()
        assert self.collection.info().dead == 0

    def reopen(self):
        self.collection.close()
        self.collection = Collection.open(self.path, background=False)
        assert self.collection.info().degraded == []

    def recall(self, condition, allowed, k=10):
        """The share of the true best that a search finds; its ids are live and allowed, its scores right."""
        names = [name for name, (_, group) in self.model.items() if group in allowed]
        if not names:
            return 1.0
        stored = np.array([self.model[name][0] for name in names]).astype(self.collection.dtype)
        queries, row = self.vectors(100), {name: n for n, name in enumerate(names)}
        found = 0
        for query, hits in zip(queries, self.collection.search(queries, k, condition), strict=True):
            scores = (stored.astype(np.float64) @ query).astype(np.float32)
            assert hits.scores.tobytes() == scores[[row[name] for name in hits.ids]].tobytes()
            assert len({*hits.ids}) == len(hits.ids) == min(k, len(names))
            found += np.count_nonzero(hits.scores >= np.sort(scores)[-len(hits.ids)])
        return found / (len(queries) * min(k, len(names)))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("factory", "dtype"),
    [
        *(("Flat", "float16"), ("SQfp16", "float32"), ("HNSW16", "float32"), ("IVF16,Flat", "float16")),
        *(("IVF16,SQ8", "float32"), ("IVF8,PQ8x4", "float32")),
    ],
)
def test_recall_stays_within_a_hundredth_of_exact(tmp_path, factory, dtype, seed):
    wanderer = Wanderer(tmp_path / "c", factory, seed, dtype)
    wanderer.upsert()
    steps = [
        wanderer.upsert,
        wanderer.delete,
        wanderer.seal,
        wanderer.tidy,
        wanderer.compact,
        wanderer.reopen,
    ]
    recalls = {number: [] for number in range(len(FILTERS))}
    for number in wanderer.generator.choice(len(steps), STEPS, p=[0.3, 0.15, 0.25, 0.1, 0.1, 0.1]):
        steps[number]()
        assert wanderer.collection.count() == len(wanderer.model)
        for which, condition in enumerate(FILTERS):
            allowed = range(10) if condition is None else condition.values
            recalls[which].append(wanderer.recall(condition, allowed))
    wanderer.collection.close()
    assert {which: round(min(found), 3) for which, found in recalls.items() if min(found) < 0.99} == {}


def test_control_an_index_asked_too_little_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "tuned", lambda kind, parameters, k: 1)
    wanderer = Wanderer(tmp_path / "c", "IVF16,Flat", 0, "float32")
    for _ in range(3):
        wanderer.upsert()
    wanderer.seal()
    assert wanderer.recall(None, range(10)) < 0.98
    exact = wanderer.collection.search(wanderer.vectors(3), effort=Effort(exact=True))
    assert [len(hits.ids) for hits in exact] == [10] * 3
    wanderer.collection.close()
