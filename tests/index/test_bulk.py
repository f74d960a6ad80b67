"""Rows whose vectors are only in the file of a segment: all that works on rows works on them too."""

import numpy as np
import pytest
from polylens.index import Bulk, Collection, Equal, loading, restore, sealed, verify
from polylens.index.errors import CorruptCollection, InvalidVector

WIDTH, COUNT = 8, 3_000


def part(unit, name="a", count=COUNT, seed=0, prefix="p"):
    ids = [f"{prefix}{n}" for n in range(count)]
    return Bulk(name, ids, [f'{{"n": {n}}}' for n in range(count)], unit(count, WIDTH, seed=seed))


@pytest.fixture
def adopted(tmp_path, unit):
    """A collection of ordinary rows, then imported ones, then ordinary ones again; and all by id."""
    with Collection.create(tmp_path / "c", dim=WIDTH, fingerprint="f") as made:
        model = {}
        for name, seed in (("before", 1), ("behind", 2)):
            vectors = unit(50, WIDTH, seed=seed)
            made.upsert([f"{name}{n}" for n in range(50)], vectors)
            model |= {f"{name}{n}": vectors[n] for n in range(50)}
            if name == "before":
                new = part(unit)
                assert made.adopt(new) == COUNT
                model |= dict(zip(new.ids, new.vectors_ND, strict=True))
        yield made, model


def agree(collection, model):
    records = collection.scan(limit=10_000)
    assert {r.id: r.vector.tobytes() for r in records} == {id: v.tobytes() for id, v in model.items()}
    assert [r.version for r in records] == sorted(r.version for r in records)
    assert collection.count() == len(model)
    names, vectors = list(model), np.stack(list(model.values()))
    scores = (vectors.astype(np.float64) @ vectors[7]).astype(np.float32)
    assert collection.search(vectors[7:8], 1)[0].ids == [names[int(scores.argmax())]]


def vectors_in_sqlite(collection):
    with collection._database.reader() as connection:
        return connection.execute("SELECT count(*) FROM vector").fetchall()[0][0]


def reopened(collection):
    collection.close()
    return Collection.open(collection.path, background=False)


def test_vectors_are_written_once_and_everything_works_on_them(adopted):
    collection, model = adopted
    assert vectors_in_sqlite(collection) == 100
    agree(collection, model)
    assert collection.count(Equal("n", 7)) == 1
    (record,) = collection.get(["p7"])
    assert record.vector.tobytes() == model["p7"].tobytes() and record.metadata == {"n": 7}
    collection.delete(["p1", "p2"])
    collection.upsert(["p3"], [model["p4"]])
    model["p3"] = model["p4"]
    for id in ("p1", "p2"):
        del model[id]
    agree(collection, model)
    with reopened(collection) as again:
        assert again.info().degraded == []
        agree(again, model)
    report = verify(collection.path)
    assert report.sound and report.findings == [] and report.live == len(model)


def test_merging_another_index_and_compaction_keep_them(adopted):
    collection, model = adopted
    collection.seal()
    collection.delete([f"p{n}" for n in range(1_000)])
    model = {id: v for id, v in model.items() if not (id[0] == "p" and int(id[1:]) < 1_000)}
    collection.compact()
    agree(collection, model)
    before = sealed.rows_path(collection.path, collection.info().segments[0].segment_id).stat().st_ino
    collection.configure("HNSW8")
    with reopened(collection) as again:
        again.sealing.run(lambda view: range(1), again._policy)
        (state,) = again.info().segments
        assert state.factory == "HNSW8" and state.dead == 0
        # Only another index was wanted: the rows are not written again.
        assert sealed.rows_path(again.path, state.segment_id).stat().st_ino == before
        agree(again, model)
    with Collection.open(collection.path, background=False) as again:
        agree(again, model)
    assert verify(collection.path).findings == []


def test_the_same_part_is_imported_once_and_a_changed_one_replaces(collection, unit):
    first = part(unit, count=20)
    assert (collection.adopt(first), collection.adopt(first), collection.count()) == (20, 0, 20)
    changed = part(unit, count=20, seed=5)
    assert (collection.adopt(changed), collection.count()) == (20, 20)
    assert collection.get(["p3"])[0].vector.tobytes() == changed.vectors_ND[3].tobytes()
    twice = Bulk("b", ["x", "y", "x"], ["{}"] * 3, unit(3, WIDTH, seed=9))
    assert collection.adopt(twice) == 2
    assert collection.get(["x"])[0].vector.tobytes() == twice.vectors_ND[2].tobytes()


def test_a_bad_vector_refuses_the_part_and_leaves_nothing(collection, unit):
    bad = part(unit)
    bad.vectors_ND[COUNT - 1, 0] = np.nan
    with pytest.raises(InvalidVector):
        collection.adopt(bad)
    assert collection.count() == 0 and not list((collection.path / "segments").glob("*"))
    assert collection.adopt(part(unit)) == COUNT


def test_damage_to_their_file_is_never_accepted(adopted):
    collection, model = adopted
    path = sealed.rows_path(collection.path, collection.info().segments[0].segment_id)
    collection.close()
    intact = path.read_bytes()
    path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    assert not verify(collection.path).lossless
    with pytest.raises(CorruptCollection, match="checksum"):
        Collection.open(collection.path)
    path.unlink()
    with pytest.raises(Exception, match="No such file"):
        Collection.open(collection.path)
    path.write_bytes(intact)  # nothing was given up meanwhile
    with Collection.open(collection.path) as again:
        agree(again, model)


def test_a_damaged_index_costs_only_the_index(adopted):
    collection, model = adopted
    collection.configure("HNSW8")
    with reopened(collection) as again:
        again.compact()
    for path in (collection.path / "segments").glob("*.faiss"):
        path.write_bytes(b"damaged")
    for problems in (1, 0):
        with Collection.open(collection.path, background=False) as again:
            assert len(again.info().degraded) == problems
            agree(again, model)


def test_openings_that_break_off_leave_the_rows(adopted, monkeypatch):
    collection, model = adopted
    collection.configure("HNSW8")
    with reopened(collection) as again:
        again.compact()
    with monkeypatch.context() as patched:
        patched.setattr(loading, "open_segment", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                Collection.open(collection.path)
    with Collection.open(collection.path, background=False) as again:
        assert "only rows kept" in again.info().degraded[0]
        agree(again, model)


@pytest.mark.parametrize("trusted", [False, True])
def test_snapshots_carry_them_even_to_strangers(adopted, tmp_path, trusted):
    collection, model = adopted
    collection.configure("HNSW8")
    with reopened(collection) as again:
        again.compact()
        again.snapshot(tmp_path / "s.tar")
    assert restore(tmp_path / "s.tar", tmp_path / "r", trusted=trusted).lossless
    assert bool(list((tmp_path / "r" / "segments").glob("*.faiss"))) == trusted
    with Collection.open(tmp_path / "r", background=False) as again:
        assert again.info().degraded == []
        agree(again, model)
