"""Range search gives every item that reaches the threshold, and no other, however the rows lie."""

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.index import Collection, Equal, ranking, segment, validation


@pytest.fixture(params=["one segment", "many segments"])
def layout(request, monkeypatch):
    if request.param == "many segments":
        monkeypatch.setattr(segment, "SEGMENT_BYTES", 0)
        for module in ("polylens.index.segment", "polylens.index.memory"):
            monkeypatch.setattr(f"{module}.MIN_ROWS", 64)
    return request.param


def expected(queries, vectors, threshold, limit) -> list[list[int]]:
    found = []
    for query in queries.astype(np.float64):
        scores = (vectors.astype(np.float64) @ query).astype(np.float32)
        order = np.lexsort((np.arange(len(vectors)), -scores))
        found.append([n for n in order if scores[n] >= np.float32(threshold)][:limit])
    return found


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("threshold", [-1.1, 0.0, 0.4, 0.8, 1.1])
def test_equals_brute_force(layout, collection, unit, queries, threshold):
    vectors, asked = unit(600), unit(queries, seed=1)
    for start in range(0, 600, 100):
        names = [f"id{n}" for n in range(start, start + 100)]
        collection.upsert(names, vectors[start : start + 100], [{"half": n % 2} for n in range(100)])
    for limit in (5, 1_000):
        found = collection.range_search(asked, threshold, limit)
        rows = expected(asked, vectors, threshold, limit)
        assert [hits.ids for hits in found] == [[f"id{n}" for n in part] for part in rows]
        assert all((hits.scores >= np.float32(threshold)).all() for hits in found)
    odd = collection.range_search(asked, threshold, filter=Equal("half", 1))
    for hits, rows in zip(odd, expected(asked, vectors[1::2], threshold, 1_000), strict=True):
        assert hits.ids == [f"id{2 * n + 1}" for n in rows]
        assert all(metadata == {"half": 1} for metadata in hits.metadata)


def test_an_item_exactly_at_the_threshold_is_in(collection, unit):
    """Thresholds are compared as float32, as scores are: 0.9 reaches 0.9."""
    vector, score = unit(1), np.float32(0.9)
    other = np.zeros(8, np.float32)
    collection.upsert(["a"], vector)
    (hits,) = collection.search(vector, 1)
    for threshold in (float(hits.scores[0]), hits.scores[0]):
        assert len(collection.range_search(vector, threshold)[0]) == 1
    assert len(collection.range_search(vector, np.nextafter(hits.scores[0], np.float32(2)))[0]) == 0
    other[:2] = score, np.sqrt(1 - float(score) ** 2)
    collection.upsert(["b"], other[None])
    assert collection.range_search(np.eye(8, dtype=np.float32)[:1], 0.9)[0].ids == ["b"]


def test_control_a_cut_in_float64_loses_the_item_at_the_threshold(collection, monkeypatch):
    def strict(ranked, threshold):
        kept = ranked[0][ranked[1].astype(np.float64) >= threshold]
        return kept, ranked[1][: len(kept)], [0, len(kept)]

    monkeypatch.setattr(ranking, "reaching", strict)
    vector = np.zeros((1, 8), np.float32)
    vector[0, :2] = 0.9, np.sqrt(1 - 0.81)
    collection.upsert(["b"], vector)
    assert collection.range_search(np.eye(8, dtype=np.float32)[:1], 0.9)[0].ids == []


def test_more_than_a_search_gives_and_nothing_of_nothing(collection, unit):
    assert [len(hits) for hits in collection.range_search(unit(3), 0.5)] == [0, 0, 0]
    assert collection.range_search(unit(3)[:0], 0.5) == []
    vectors = unit(3_000)
    collection.upsert([f"id{n}" for n in range(3_000)], vectors)
    (hits,) = collection.range_search(vectors[:1], -2, limit=10_000)
    assert len(hits) == 3_000 and len(set(hits.ids)) == 3_000
    assert (np.diff(hits.scores) <= 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "0.5", None, True, [1]], ids=repr)
def test_bad_thresholds_are_refused(collection, unit, bad):
    with pytest.raises(InvalidInput, match="threshold is"):
        collection.range_search(unit(1), bad)


def test_too_much_in_one_answer_is_refused(collection, unit):
    for limit in (0, validation.MAX_RANGE + 1, 1.5):
        with pytest.raises(InvalidInput, match="limit is"):
            collection.range_search(unit(1), 0.5, limit)
    with pytest.raises(InvalidInput, match="queries of 10000 hits"):
        collection.range_search(unit(500), 0.5, 10_000)


def test_reopened_it_answers_the_same(collection, unit):
    collection.upsert([f"id{n}" for n in range(300)], unit(300))
    collection.delete([f"id{n}" for n in range(0, 300, 3)])
    before = collection.range_search(unit(5, seed=3), 0.3)
    collection.close()
    with Collection.open(collection.path) as again:
        for old, new in zip(before, again.range_search(unit(5, seed=3), 0.3), strict=True):
            assert old.ids == new.ids and old.scores.tobytes() == new.scores.tobytes()
