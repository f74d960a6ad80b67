"""Diverse hits are those of maximal marginal relevance, chosen as its definition says."""

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.index import Equal, ranking


def naive(query, vectors, k: int, diversity: float) -> list[int]:
    """Carbonell and Goldstein's formula, word by word, over the 4 k + 20 best rows."""
    exact = vectors.astype(np.float64)
    scores = (exact @ query.astype(np.float64)).astype(np.float32)
    pool = np.lexsort((np.arange(len(vectors)), -scores))[: 4 * k + 20].tolist()
    chosen: list[int] = []
    while len(chosen) < k and pool:

        def value(row: int) -> float:
            likeness = max((float(exact[row] @ exact[other]) for other in chosen), default=0.0)
            return (1 - diversity) * float(scores[row]) - diversity * likeness

        if not chosen and diversity == 1:
            best = pool[0]  # nothing to differ from yet
        else:
            best = max(pool, key=value)  # of equal ones the first, which has the higher score
        chosen.append(best)
        pool.remove(best)
    return chosen


@pytest.mark.parametrize("diversity", [0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("k", [1, 4, 15])
def test_equals_its_definition(collection, unit, diversity, k):
    vectors, asked = unit(70), unit(3, seed=1)
    collection.upsert([f"id{n}" for n in range(70)], vectors, [{"n": n} for n in range(70)])
    scores = (vectors.astype(np.float64) @ asked.T.astype(np.float64)).astype(np.float32)
    for n, hits in enumerate(collection.search(asked, k, diversity=diversity)):
        rows = naive(asked[n], vectors, k, diversity)
        assert hits.ids == [f"id{row}" for row in rows]
        assert hits.scores.tobytes() == scores[rows, n].tobytes()
        assert [metadata["n"] for metadata in hits.metadata] == rows


def crowded(unit) -> np.ndarray:
    """Thirty rows nearly the same as the query and ten others that are further off."""
    generator = np.random.default_rng(0)
    near = unit(1) + generator.normal(0, 0.001, (30, 8))
    far = unit(1) + generator.normal(0, 0.3, (10, 8))
    vectors = np.concatenate([near, far])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_a_crowd_of_copies_gives_way(collection, unit):
    collection.upsert([f"{'far' if n >= 30 else 'near'}{n}" for n in range(40)], crowded(unit))
    plain, diverse = (collection.search(unit(1), 6, diversity=d)[0] for d in (0, 0.6))
    assert all(id.startswith("near") for id in plain.ids)  # the control: without it only copies
    assert diverse.ids[0] == plain.ids[0]
    assert sum(id.startswith("far") for id in diverse.ids) >= 4


def test_none_is_the_plain_search(collection, unit):
    collection.upsert([f"id{n}" for n in range(100)], unit(100))
    plain, zero = collection.search(unit(3, seed=1)), collection.search(unit(3, seed=1), diversity=0.0)
    for one, other in zip(plain, zero, strict=True):
        assert one.ids == other.ids and one.scores.tobytes() == other.scores.tobytes()


def test_equal_items_are_chosen_in_the_order_of_writing(collection, unit):
    collection.upsert([f"id{n}" for n in range(30)], np.repeat(unit(3), 10, axis=0))
    (hits,) = collection.search(unit(1), 30, diversity=0.5)
    for group in range(3):
        names = [id for id in hits.ids if int(id[2:]) // 10 == group]
        assert names == [f"id{n}" for n in range(10 * group, 10 * group + 10)]


def test_with_filters_and_fewer_items_than_wanted(collection, unit):
    assert [len(hits) for hits in collection.search(unit(2), diversity=0.5)] == [0, 0]
    collection.upsert([f"id{n}" for n in range(30)], unit(30), [{"n": n % 3} for n in range(30)])
    (hits,) = collection.search(unit(1), 20, Equal("n", 1), diversity=0.5)
    assert sorted(hits.ids) == sorted(f"id{n}" for n in range(1, 30, 3))
    assert collection.search(unit(1)[:0], diversity=0.5) == []
    assert len(collection.search(unit(1), 5, Equal("n", 9), diversity=0.5)[0]) == 0


def test_a_hit_is_the_same_alone_and_in_a_batch(collection, unit):
    collection.upsert([f"id{n}" for n in range(200)], unit(200))
    asked = unit(20, seed=1)
    for query, hits in zip(asked, collection.search(asked, 7, diversity=0.4), strict=True):
        assert collection.search(query[None], 7, diversity=0.4)[0].ids == hits.ids


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), "0.5", None, True], ids=repr)
def test_bad_values_are_refused(collection, unit, bad):
    with pytest.raises(InvalidInput, match="diversity is"):
        collection.search(unit(1), diversity=bad)


def test_the_pool_bounds_the_work():
    assert ranking.pool(10) == 60 and ranking.pool(1_000) == 4_020
