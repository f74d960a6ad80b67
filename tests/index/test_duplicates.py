"""Near duplicates: exactly the pairs that a loop over all pairs finds, in bounded memory."""

import itertools
import threading

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.index import Collection, Equal, Pair, duplicates, segment


def naive(vectors, threshold: float, names=None) -> list[Pair]:
    exact = vectors.astype(np.float64)
    names = names or [f"id{n}" for n in range(len(vectors))]
    every = itertools.combinations(range(len(vectors)), 2)
    scored = [(np.float32(exact[a] @ exact[b]), a, b) for a, b in every]
    best = sorted((-score, a, b) for score, a, b in scored if score >= np.float32(threshold))
    return [Pair(names[a], names[b], float(-score)) for score, a, b in best]


def alike(got: list[Pair], expected: list[Pair]) -> bool:
    return [(p.id_a, p.id_b) for p in got] == [(p.id_a, p.id_b) for p in expected] and [
        p.score for p in got
    ] == pytest.approx([p.score for p in expected], abs=1e-7)


@pytest.fixture(params=["one tile", "many tiles and segments"])
def tiles(request, monkeypatch):
    if request.param != "one tile":
        monkeypatch.setattr(duplicates, "SIDE", 17)
        monkeypatch.setattr(segment, "SEGMENT_BYTES", 0)
        for module in ("polylens.index.segment", "polylens.index.memory"):
            monkeypatch.setattr(f"{module}.MIN_ROWS", 64)


def family(unit, rows: int = 200) -> np.ndarray:
    """Rows of which every fifth is nearly an earlier one."""
    vectors = unit(rows).astype(np.float64)
    generator = np.random.default_rng(1)
    for n in range(5, rows, 5):
        vectors[n] = vectors[generator.integers(n)] + generator.normal(0, 0.03, vectors.shape[1])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def fill(collection: Collection, vectors) -> None:
    for start in range(0, len(vectors), 50):
        names = [f"id{n}" for n in range(start, min(start + 50, len(vectors)))]
        metadata = [{"odd": n % 2 == 1} for n in range(start, start + len(names))]
        collection.upsert(names, vectors[start : start + 50], metadata)


@pytest.mark.parametrize("threshold", [0.3, 0.9, 0.99, 1.0])
def test_equals_all_pairs(tiles, collection, unit, threshold):
    vectors = family(unit)
    fill(collection, vectors)
    expected = naive(vectors, threshold)
    assert expected or threshold == 1.0
    for limit in (1, 7, 100_000):
        assert alike(collection.near_duplicates(threshold, limit), expected[:limit])


def test_equal_scores_stand_in_the_order_of_writing(tiles, collection, unit):
    """Copies of three rows: every pair of copies has the same score, and the limit cuts within them."""
    vectors = np.repeat(unit(3), 20, axis=0)[np.random.default_rng(0).permutation(60)]
    fill(collection, vectors)
    expected = naive(vectors, 0.999)
    for limit in (5, 100, 1_000):
        assert alike(collection.near_duplicates(0.999, limit), expected[:limit])


def test_deleted_replaced_and_filtered_items_are_no_pairs(tiles, collection, unit):
    vectors = family(unit)
    fill(collection, vectors)
    odd = [n for n in range(200) if n % 2]
    only = naive(vectors[odd], 0.9, [f"id{n}" for n in odd])
    assert only and alike(collection.near_duplicates(0.9, filter=Equal("odd", True)), only)
    first = collection.near_duplicates(0.9)[0]
    collection.delete([first.id_a])
    collection.upsert([first.id_b], unit(1, seed=9))
    left = [pair for pair in naive(vectors, 0.9) if not {pair.id_a, pair.id_b} & {first.id_a, first.id_b}]
    again = [pair for pair in collection.near_duplicates(0.9) if first.id_b not in (pair.id_a, pair.id_b)]
    assert alike(again, left)


def test_pairs_beyond_float32_are_told_apart(collection, unit):
    """Scores that differ less than float32 products can tell: the threshold is still met exactly."""
    generator = np.random.default_rng(0)
    vectors = np.repeat(unit(1), 60, axis=0) + generator.normal(0, 2e-5, (60, 8)).astype(np.float32)
    collection.upsert([f"id{n}" for n in range(60)], vectors)
    middle = naive(vectors, 0.9)[900].score
    assert alike(collection.near_duplicates(middle, 5_000), naive(vectors, middle))


def test_control_without_the_margin_pairs_are_lost(collection, unit, monkeypatch):
    generator = np.random.default_rng(0)
    vectors = np.repeat(unit(1), 60, axis=0) + generator.normal(0, 2e-5, (60, 8)).astype(np.float32)
    collection.upsert([f"id{n}" for n in range(60)], vectors)
    middle = naive(vectors, 0.9)[900].score
    honest = duplicates._Side

    def careless(view, positions, normalize):
        side = honest(view, positions, normalize)
        side.max_norm = 0.0
        return side

    monkeypatch.setattr(duplicates, "_Side", careless)
    assert not alike(collection.near_duplicates(middle, 5_000), naive(vectors, middle))


def test_progress_is_told_and_can_end_the_work(collection, unit, monkeypatch):
    monkeypatch.setattr(duplicates, "SIDE", 20)
    fill(collection, unit(100))
    told: list[float] = []
    collection.near_duplicates(0.9, progress=told.append)
    assert len(told) == 5 and told == sorted(told) and told[-1] == 1 and told[0] < 0.5

    def enough(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.near_duplicates(0.9, progress=enough)
    assert collection.count() == 100


def test_thousands_of_equal_items_are_bounded_memory(collection, unit, monkeypatch):
    largest = 0
    honest = duplicates._Best.settle

    def watched(self):
        nonlocal largest
        largest = max(largest, sum(len(part[2]) for part in self._pending))
        return honest(self)

    monkeypatch.setattr(duplicates._Best, "settle", watched)
    collection.upsert([f"id{n}" for n in range(2_000)], np.repeat(unit(1), 2_000, axis=0))
    pairs = collection.near_duplicates(0.99, 50)
    assert [(pair.id_a, pair.id_b) for pair in pairs] == [("id0", f"id{n}") for n in range(1, 51)]
    assert largest < 2 * 50 + 2 * duplicates.SIDE


def test_items_deleted_while_it_looks_are_left_out(collection, unit, monkeypatch):
    monkeypatch.setattr(duplicates, "SIDE", 20)
    monkeypatch.setattr(segment, "WASTE_ROWS", 1)
    fill(collection, np.repeat(unit(50), 2, axis=0))

    def meanwhile(share: float) -> None:
        thread = threading.Thread(target=collection.delete, args=([f"id{n}" for n in range(60)],))
        thread.start()
        thread.join()

    pairs = collection.near_duplicates(0.999, progress=meanwhile)
    assert {(pair.id_a, pair.id_b) for pair in pairs} == {(f"id{n}", f"id{n + 1}") for n in range(60, 100, 2)}


def test_nothing_and_one_item_have_no_pairs(collection, unit):
    assert collection.near_duplicates() == []
    collection.upsert(["a"], unit(1))
    assert collection.near_duplicates(0) == []


def test_bad_input_is_refused(collection):
    for bad in (-0.1, 1.1, float("nan"), "1", None):
        with pytest.raises(InvalidInput, match="threshold is"):
            collection.near_duplicates(bad)
    for bad in (0, 100_001, 2.5, None):
        with pytest.raises(InvalidInput, match="limit is"):
            collection.near_duplicates(limit=bad)
