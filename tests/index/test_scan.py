"""The search equals brute force: ids, order, every bit of the scores, however the rows lie in memory."""

import itertools

import numpy as np
import pytest
from polylens.index import And, Collection, Equal, Range, scan, segment


@pytest.fixture(params=["one segment", "many segments"])
def layout(request, monkeypatch):
    if request.param == "many segments":
        monkeypatch.setattr(segment, "SEGMENT_BYTES", 0)
        for module in ("polylens.index.segment", "polylens.index.memory"):
            monkeypatch.setattr(f"{module}.MIN_ROWS", 64)
    return request.param


def fill(collection: Collection, vectors, batch: int = 100) -> None:
    for start in range(0, len(vectors), batch):
        part = vectors[start : start + batch]
        numbers = range(start, start + len(part))
        collection.upsert([f"id{n}" for n in numbers], part, [{"n": n, "odd": n % 2 == 1} for n in numbers])


def check(found, expected, names) -> None:
    for hits, rows, scores in zip(found, *expected, strict=True):
        assert hits.ids == [names[row] for row in rows]
        assert hits.scores.tobytes() == scores.tobytes()


@pytest.mark.parametrize(
    ("queries", "ks"), [(1, (1, 10, 1000)), (3, (10,)), (4, (1, 699)), (64, (10,)), (300, (3,))]
)
def test_equals_brute_force(layout, collection, unit, brute_force, queries, ks):
    vectors = unit(700)
    fill(collection, vectors)
    assert (len(collection._memory.view.segments) > 5) == (layout == "many segments")
    for k in ks:
        asked = unit(queries, seed=queries)
        check(collection.search(asked, k), brute_force(asked, vectors, k), [f"id{n}" for n in range(700)])


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("kept", [0.98, 0.6, 0.05])
def test_equals_brute_force_with_deletions_and_filters(layout, collection, unit, brute_force, queries, kept):
    vectors = unit(700)
    fill(collection, vectors)
    gone = np.random.default_rng(1).random(700) > kept
    collection.delete([f"id{n}" for n in np.flatnonzero(gone)])
    asked = unit(queries, seed=2)
    left = np.flatnonzero(~gone)
    check(collection.search(asked, 10), brute_force(asked, vectors[left], 10), [f"id{n}" for n in left])
    left = np.array([n for n in left if n % 2 and 100 <= n < 400])
    passing = And((Equal("odd", True), Range("n", gte=100, lt=400)))
    check(
        collection.search(asked, 10, passing), brute_force(asked, vectors[left], 10), [f"id{n}" for n in left]
    )
    assert [len(hits) for hits in collection.search(asked, 10, Equal("n", -1))] == [0] * queries


@pytest.mark.parametrize("queries", [1, 5])
def test_equal_scores_stand_in_the_order_of_writing(layout, collection, unit, brute_force, queries):
    vectors = np.repeat(unit(7), 100, axis=0)[np.random.default_rng(0).permutation(700)]
    fill(collection, vectors)
    asked = unit(queries, seed=3)
    for k in (1, 30, 150):
        check(collection.search(asked, k), brute_force(asked, vectors, k), [f"id{n}" for n in range(700)])


def test_one_query_gives_what_it_gives_in_a_batch(collection, unit):
    fill(collection, unit(700))
    asked = unit(64, seed=5)
    together = collection.search(asked, 50)
    alone = [collection.search(query[None], 50)[0] for query in asked]
    for one, other in zip(together, alone, strict=True):
        assert one.ids == other.ids and one.scores.tobytes() == other.scores.tobytes()


def test_near_equal_scores_beyond_faiss_slack_are_not_cut(collection, unit, brute_force):
    """Hundreds of vectors that float32 scores cannot tell apart: the best by float64 must come first."""
    generator = np.random.default_rng(0)
    vectors = np.repeat(unit(1), 300, axis=0) + generator.normal(0, 3e-8, (300, 8)).astype(np.float32)
    fill(collection, vectors)
    asked = unit(1, seed=6)
    expected = brute_force(asked, vectors, 5)
    check(collection.search(asked, 5), expected, [f"id{n}" for n in range(300)])
    view = collection._memory.view
    assert scan._scan_faiss(scan.parts(view, None), asked, 5) is None  # FAISS saw that it could not tell


def test_control_faiss_alone_orders_ties_otherwise(unit, brute_force):
    """What the exact scores are for: FAISS's own answer breaks ties as it likes."""
    vectors = np.repeat(unit(7), 100, axis=0)
    asked = unit(1, seed=3)
    _, positions = scan._faiss_top(vectors, None, asked, 30)
    assert positions[0].tolist() != brute_force(asked, vectors, 30)[0][0]


def test_thousands_of_equal_vectors_are_bounded_work(collection, unit):
    same = np.repeat(unit(1), 6_000, axis=0)
    collection.upsert([f"id{n}" for n in range(6_000)], same)
    for queries in (1, 5):
        for hits in collection.search(np.repeat(same[:1], queries, axis=0), 3):
            assert hits.ids == ["id0", "id1", "id2"]


@pytest.mark.parametrize("queries", [1, 5])
def test_churn_compacts_memory_and_database_and_changes_no_answer(
    layout, collection, unit, brute_force, queries, monkeypatch
):
    monkeypatch.setattr(segment, "WASTE_ROWS", 20)
    names = [f"id{n}" for n in range(300)]
    state, order = {}, itertools.count()
    generator = np.random.default_rng(7)
    for turn in range(30):
        chosen = generator.choice(300, 40, replace=False).tolist()
        vectors = unit(40, seed=100 + turn)
        collection.upsert([names[n] for n in chosen], vectors)
        state.update({names[n]: (next(order), vector) for n, vector in zip(chosen, vectors, strict=True)})
        for name in collection.get([names[n] for n in chosen[:10]], vectors=False):
            del state[name.id]
        collection.delete([names[n] for n in chosen[:10]])
    live = sorted(state, key=lambda name: state[name][0])
    asked = unit(queries, seed=8)
    expected = brute_force(asked, np.array([state[name][1] for name in live]), 20)
    check(collection.search(asked, 20), expected, live)
    view = collection._memory.view
    assert view.generation > 3
    assert sum(len(part) for part in view.segments) < 1.5 * len(live) + 20 * len(view.segments)
    with collection._database.reader() as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM row").fetchall()
        assert connection.execute("SELECT count(*) FROM vector").fetchall() == [(rows,)]
    assert rows == sum(len(part) for part in view.segments)  # 1,200 were written
