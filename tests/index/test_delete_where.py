"""Deleting by filter: among concurrent writers, and what is left in memory and file."""

import threading

import numpy as np
from polylens.index import Equal, Range


def test_it_deletes_what_passes_when_it_is_written_not_when_it_is_called(collection, unit, while_writing):
    collection.upsert(["a", "b"], unit(2), [{"x": 1}, {"x": 2}])
    deleted = []
    jobs = [
        threading.Thread(target=collection.upsert, args=(["a", "c"], unit(2, seed=1), [{"x": 2}, {"x": 1}])),
        threading.Thread(target=lambda: deleted.append(collection.delete_where(Equal("x", 1)))),
        threading.Thread(target=collection.upsert, args=(["d"], unit(1), [{"x": 1}])),
    ]
    with while_writing(collection, jobs):
        assert collection.count(Equal("x", 1)) == 1
    assert deleted == [1]  # c, no longer a, not yet d
    assert [record.id for record in collection.scan()] == ["b", "a", "d"]


def test_many_deleted_at_once_leave_memory_and_file(collection, unit):
    collection.upsert([f"id{n}" for n in range(3_000)], unit(3_000), [{"n": n} for n in range(3_000)])
    assert collection.delete_where(Range("n", gte=10)) == 2_990
    assert collection.count() == 10
    with collection._database.reader() as connection:
        assert connection.execute("SELECT count(*) FROM vector").fetchall() == [(10,)]
    assert sorted(collection.search(unit(1), k=20)[0].ids) == sorted(f"id{n}" for n in range(10))
    assert np.array_equal(collection.get(["id7"])[0].vector, unit(3_000)[7])
