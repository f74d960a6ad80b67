"""A collection keeps, replaces, deletes and gives back what it was told, also after it was opened again."""

import numpy as np
import pytest
from polylens.index.errors import (
    CollectionClosed,
)


def test_get_returns_every_bit_in_the_order_asked_for(collection, unit):
    vectors = unit(4)
    metadata = [
        {"name": "hornbill", "n": 1.0},
        {"名": "鸟", "deep": {"list": [1, "x", None, True]}},
        {},
        {"e": "\0"},
    ]
    assert collection.upsert(["a", "鳥", "c", "d e"], vectors, metadata) == 4
    records = collection.get(["d e", "nobody", "鳥", "a", "a"])
    assert [record and record.id for record in records] == ["d e", None, "鳥", "a", "a"]
    for record, row in zip(records, (3, None, 1, 0, 0), strict=True):
        if record is not None:
            assert record.metadata == metadata[row]
            assert record.vector.tobytes() == vectors[row].tobytes()
    assert isinstance(records[3].metadata["n"], float)
    assert collection.get(["a"], vectors=False)[0].vector is None


def test_upsert_replaces_and_delete_removes(collection, unit):
    first, second = unit(3, seed=1), unit(3, seed=2)
    collection.upsert(["a", "b", "c"], first, [{"v": 1}] * 3)
    collection.upsert(["b"], second[1:2], [{"v": 2}])
    assert collection.count() == 3
    assert collection.get(["b"])[0].metadata == {"v": 2}
    (hits,) = collection.search(first[1:2], k=10)
    assert sorted(hits.ids) == ["a", "b", "c"]
    assert hits.scores[hits.ids.index("b")] < 0.99  # the old vector of b is found no more
    assert collection.delete(["b", "nobody", "b"]) == 1
    assert collection.delete(["b"]) == 0
    assert collection.count() == 2
    assert collection.get(["b"]) == [None]
    assert sorted(collection.search(second[1:2], k=10)[0].ids) == ["a", "c"]


def test_of_an_id_given_twice_the_last_wins(collection, unit):
    vectors = unit(3)
    assert collection.upsert(["a", "b", "a"], vectors, [{"n": 0}, {"n": 1}, {"n": 2}]) == 2
    assert collection.count() == 2
    assert collection.get(["a"])[0].metadata == {"n": 2}
    assert collection.search(vectors[2:], k=1)[0].ids == ["a"]
    assert [record.id for record in collection.scan()] == ["b", "a"]  # as if sent one after the other


def test_versions_grow_and_are_never_used_twice(places, unit):
    store = places()
    collection = store.create("birds", dim=8, fingerprint="model-a")
    collection.upsert(["a", "b"], unit(2))
    highest = collection.get(["b"])[0].version
    collection.delete(["a", "b"])
    store.close()
    again = places().open("birds")
    again.upsert(["a"], unit(1))
    assert again.get(["a"])[0].version > highest


def test_scan_walks_every_item_once_in_stable_pages(collection, unit):
    names = [f"bird-{n}" for n in range(25)]
    collection.upsert(names, unit(25))
    seen, after = [], 0
    while page := collection.scan(limit=10, after=after, vectors=False):
        seen += [record.id for record in page]
        after = page[-1].version
        if len(seen) == 10:  # a change in between moves an item to the end and shifts nothing else
            collection.upsert(["bird-15"], unit(1, seed=9))
            collection.delete(["bird-3"])
    assert seen == [name for name in names if name != "bird-15"] + ["bird-15"]


def test_reopened_it_answers_the_same(places, unit):
    store = places()
    collection = store.create("birds", dim=8, fingerprint="model-a")
    collection.upsert([f"id{n}" for n in range(300)], unit(300), [{"n": n} for n in range(300)])
    collection.delete([f"id{n}" for n in range(0, 300, 3)])
    collection.upsert([f"id{n}" for n in range(50)], unit(50, seed=3))
    queries = unit(70, seed=4)
    before, page = collection.search(queries, k=20), collection.scan(limit=1000)
    store.close()
    again = places().open("birds", fingerprint="model-a")
    assert (again.name, again.dim, again.fingerprint, again.count()) == ("birds", 8, "model-a", len(page))
    for old, new in zip(before, again.search(queries, k=20), strict=True):
        assert old.ids == new.ids and old.metadata == new.metadata
        assert old.scores.tobytes() == new.scores.tobytes()
    for old, new in zip(page, again.scan(limit=1000), strict=True):
        assert (old.id, old.version, old.metadata) == (new.id, new.version, new.metadata)
        assert np.array_equal(old.vector, new.vector)


def test_hits_know_length_and_indexing(collection, unit):
    vectors = unit(5)
    collection.upsert(list("abcde"), vectors, [{"n": n} for n in range(5)])
    hits = collection.search(vectors[:1], k=3)[0]
    assert len(hits) == 3 and hits.scores.dtype == np.float32
    assert (hits[0].id, hits[0].metadata) == ("a", {"n": 0})
    assert hits[0].score == pytest.approx(1, abs=1e-6)
    assert [hit.id for hit in hits] == hits.ids
    hits.metadata[0]["n"] = "changed by the caller"
    assert collection.search(vectors[:1], k=1)[0].metadata == [{"n": 0}]


def test_empty_calls_and_empty_collections(collection):
    nothing = np.empty((0, 8), np.float32)
    assert collection.upsert([], nothing) == collection.delete([]) == collection.count() == 0
    assert collection.get([]) == collection.scan() == collection.search(nothing) == []
    query = np.eye(8, dtype=np.float32)[:2]
    assert [len(hits) for hits in collection.search(query)] == [0, 0]


def test_closed_it_refuses_everything(collection, unit):
    collection.upsert(["a"], unit(1))
    collection.close()
    collection.close()
    for call in (
        lambda: collection.upsert(["b"], unit(1)),
        lambda: collection.delete(["a"]),
        lambda: collection.get(["a"]),
        lambda: collection.scan(),
        lambda: collection.search(unit(1)),
    ):
        with pytest.raises(CollectionClosed):
            call()
