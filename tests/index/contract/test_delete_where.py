"""Deleting, counting and walking by filter, against the same in Python."""

import pytest
from polylens.index import And, Equal, Exists, In, Not, Or, Range
from polylens.index.errors import InvalidFilter

FILTERS = {
    "equal": (Equal("odd", True), lambda m: m["odd"]),
    "range": (Range("n", gte=10, lt=25), lambda m: 10 <= m["n"] < 25),
    "in": (In("n", (3, 5, 99)), lambda m: m["n"] in (3, 5)),
    "not": (Not(Equal("odd", True)), lambda m: not m["odd"]),
    "or": (Or((Equal("n", 0), Range("n", gt=35))), lambda m: m["n"] == 0 or m["n"] > 35),
    "and": (And((Equal("odd", False), Exists("tag"))), lambda m: not m["odd"] and "tag" in m),
    "all": (Exists("n"), lambda m: True),
    "none": (Equal("n", -1), lambda m: False),
}


@pytest.fixture
def filled(collection, unit):
    """Forty items with metadata; some were replaced, so that dead rows pass filters too."""
    vectors = unit(40)
    metadata = [{"n": n, "odd": n % 2 == 1} | ({"tag": "x"} if n % 5 == 0 else {}) for n in range(40)]
    collection.upsert([f"id{n}" for n in range(40)], vectors, [{"n": 11, "odd": True, "tag": 0}] * 40)
    collection.upsert([f"id{n}" for n in range(40)], vectors, metadata)
    return collection, vectors, metadata


@pytest.mark.parametrize("name", FILTERS)
def test_count_scan_and_delete_agree_with_python(filled, name, brute_force):
    collection, vectors, metadata = filled
    condition, passes = FILTERS[name]
    passing = [n for n in range(40) if passes(metadata[n])]
    assert collection.count(condition) == len(passing) and collection.count() == 40
    walked, after = [], 0
    while page := collection.scan(limit=7, after=after, vectors=False, filter=condition):
        walked += [record.id for record in page]
        after = page[-1].version
    assert walked == [f"id{n}" for n in passing]
    assert collection.delete_where(condition) == len(passing)
    assert collection.delete_where(condition) == 0 == collection.count(condition)
    left = [n for n in range(40) if n not in passing]
    assert [record.id for record in collection.scan()] == [f"id{n}" for n in left]
    rows, _ = brute_force(vectors[:3], vectors[left], 40)
    for hits, expected in zip(collection.search(vectors[:3], k=40), rows, strict=True):
        assert hits.ids == [f"id{left[row]}" for row in expected]


def test_a_filter_with_a_mistake_is_refused_before_anything_is_deleted(filled):
    collection, _, _ = filled
    for bad in (Range("n"), And(()), Equal("", 1), None, {"n": 1}, In("n", ())):
        with pytest.raises(InvalidFilter):
            collection.delete_where(bad)
    for bad in (Range("n"), {"n": 1}):
        with pytest.raises(InvalidFilter):
            collection.count(bad)
        with pytest.raises(InvalidFilter):
            collection.scan(filter=bad)
    assert collection.count() == 40


def test_pages_of_a_filter_are_stable_while_others_write(filled, unit):
    collection, _, _ = filled
    seen, after = [], 0
    while page := collection.scan(limit=4, after=after, vectors=False, filter=Equal("odd", True)):
        seen += [record.id for record in page]
        after = page[-1].version
        if len(seen) == 4:
            collection.upsert(["id9"], unit(1), [{"n": 9, "odd": True}])
            collection.delete(["id11"])
            collection.upsert(["id2"], unit(1), [{"n": 2, "odd": True}])
    odd = [f"id{n}" for n in range(1, 40, 2) if n not in (9, 11)]
    assert seen == [*odd, "id9", "id2"]
