"""A search equals brute force: ids, order, every bit of the scores; so does a range search."""

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.index import And, Effort, Equal, Range, validation


def check(found, expected, names):
    rows, scores = expected
    assert len(found) == len(rows)
    for hits, row, score in zip(found, rows, scores, strict=True):
        assert hits.ids == [names[n] for n in row]
        assert hits.scores.tobytes() == score.tobytes()


@pytest.fixture
def filled(collection, unit):
    """Three hundred items; some were replaced and some deleted; the vectors and names that are left."""
    vectors = unit(300)
    metadata = [{"n": n, "odd": n % 2 == 1} for n in range(300)]
    collection.upsert([f"id{n}" for n in range(300)], unit(300, seed=9), [{"n": 0, "odd": True}] * 300)
    collection.upsert([f"id{n}" for n in range(300)], vectors, metadata)
    collection.delete([f"id{n}" for n in range(0, 300, 7)])
    left = np.array([n for n in range(300) if n % 7])
    return collection, vectors, left


@pytest.mark.parametrize(("queries", "k"), [(1, 1), (1, 300), (5, 10), (64, 10)])
def test_equals_brute_force(filled, unit, brute_force, queries, k):
    collection, vectors, left = filled
    asked = unit(queries, seed=queries)
    for effort in (Effort(), Effort(exact=True)):
        found = collection.search(asked, k, effort=effort)
        check(found, brute_force(asked, vectors[left], k), [f"id{n}" for n in left])


def test_equals_brute_force_with_filters(filled, unit, brute_force):
    collection, vectors, left = filled
    asked = unit(3, seed=2)
    left = np.array([n for n in left if n % 2 and 100 <= n < 200])
    passing = And((Equal("odd", True), Range("n", gte=100, lt=200)))
    found = collection.search(asked, 10, passing)
    check(found, brute_force(asked, vectors[left], 10), [f"id{n}" for n in left])
    assert [hits.metadata[0]["odd"] for hits in found] == [True] * 3
    assert [len(hits) for hits in collection.search(asked, 10, Equal("n", -1))] == [0] * 3


def test_equal_scores_stand_in_the_order_of_writing(collection, unit, brute_force):
    vectors = np.repeat(unit(5), 20, axis=0)[np.random.default_rng(0).permutation(100)]
    collection.upsert([f"id{n}" for n in range(100)], vectors)
    asked = unit(3, seed=3)
    check(collection.search(asked, 100), brute_force(asked, vectors, 100), [f"id{n}" for n in range(100)])


@pytest.mark.parametrize("threshold", [-1.1, 0.0, 0.4, 1.1])
def test_a_range_search_equals_brute_force(filled, unit, brute_force, threshold):
    collection, vectors, left = filled
    asked = unit(3, seed=1)
    for limit in (5, 1_000):
        rows, scores = brute_force(asked, vectors[left], limit)
        kept = [int(np.count_nonzero(one >= np.float32(threshold))) for one in scores]
        expected = [row[:n] for row, n in zip(rows, kept, strict=True)]
        found = collection.range_search(asked, threshold, limit)
        assert [hits.ids for hits in found] == [[f"id{left[n]}" for n in row] for row in expected]


def test_an_item_exactly_at_the_threshold_is_in(collection, unit):
    collection.upsert(["a"], unit(1))
    score = collection.search(unit(1), 1)[0].scores[0]
    assert len(collection.range_search(unit(1), float(score))[0]) == 1
    assert len(collection.range_search(unit(1), float(np.nextafter(score, np.float32(2))))[0]) == 0


def test_too_much_in_one_answer_is_refused(collection, unit):
    with pytest.raises(InvalidInput, match="limit is"):
        collection.range_search(unit(1), 0.5, validation.MAX_RANGE + 1)
    with pytest.raises(InvalidInput, match="queries of 10000 hits"):
        collection.range_search(unit(500), 0.5, 10_000)


def test_one_query_gives_what_it_gives_in_a_batch(filled, unit):
    collection, _, _ = filled
    asked = unit(6, seed=5)
    together = collection.search(asked, 50)
    for query, other in zip(asked, together, strict=True):
        one = collection.search(query[None], 50)[0]
        assert one.ids == other.ids and one.scores.tobytes() == other.scores.tobytes()


def test_inner_products_of_vectors_of_any_length(shared, unit):
    lengths = 10 ** np.random.default_rng(0).uniform(-3, 3, (50, 1))
    vectors = (unit(50) * lengths).astype(np.float32)
    vectors[7] = 0
    collection = shared.create("lengths", dim=8, fingerprint="f", metric="inner_product")
    collection.upsert([f"id{n}" for n in range(50)], vectors)
    query = unit(1, seed=4)
    scores = (vectors.astype(np.float64) @ query[0].astype(np.float64)).astype(np.float32)
    order = np.lexsort((np.arange(50), -scores))
    (hits,) = collection.search(query, 50)
    assert hits.ids == [f"id{n}" for n in order] and hits.scores.tobytes() == scores[order].tobytes()
    shared.drop("lengths")
