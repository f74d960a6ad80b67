"""Sealed segments survive reopening, damage to them is noticed, nothing of an unfinished one is kept."""

import numpy as np
import pytest
from polylens.index import Collection, Equal, policy, sealed, tune
from polylens.index.errors import CorruptCollection, StorageFull
from polylens.index.files import Files
from polylens.index.plan import Effort
from polylens.index.sealed import Stamp

WIDTH, ROWS = 16, 2_000
EXACT = Effort(exact=True)
KINDS = ["Flat", "SQfp16", "IVF16,Flat", "IVF16,SQ8", "HNSW8", "OPQ4,IVF8,PQ4x4"]


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Tuning asks few questions: these searches are exact."""
    monkeypatch.setattr(tune, "QUERIES", 8)


@pytest.fixture
def filled(tmp_path, unit):
    """A function: (factory) -> the path of a closed collection, some rows sealed, some dead, some not."""

    def make(factory="IVF16,Flat", **options):
        path = tmp_path / "c"
        with Collection.create(path, dim=WIDTH, fingerprint="f", index=factory, **options) as made:
            vectors = unit(ROWS + 300, WIDTH)
            groups = [{"group": n % 10} for n in range(ROWS + 300)]
            made.upsert([f"id{n}" for n in range(ROWS)], vectors[:ROWS], groups[:ROWS])
            made.delete([f"id{n}" for n in range(100)])
            assert made.seal() == ROWS - 100
            made.delete([f"id{n}" for n in range(100, 200)])
            made.upsert([f"id{n}" for n in range(1_900, ROWS + 300)], vectors[1_900:], groups[1_900:])
        return path

    return make


def answers(path, queries, **options):
    with Collection.open(path, background=False) as collection:
        found = collection.search(queries, 10, effort=EXACT, **options)
        return [(hits.ids, hits.scores.tobytes()) for hits in found]


@pytest.mark.parametrize("factory", KINDS)
def test_reopened_it_has_the_same_rows_and_searches_exactly(filled, factory, unit, brute_force):
    path = filled(factory)
    with Collection.open(path, background=False) as collection:
        state = collection.info()
        assert (state.count, state.tail, state.degraded) == (ROWS + 100, 400, [])
        (segment,) = state.segments
        assert (segment.factory, segment.rows, segment.dead) == (factory, ROWS - 100, 200)
        vectors = unit(ROWS + 300, WIDTH)[200:]
        for queries in (1, 7):
            asked = unit(queries, WIDTH, seed=5)
            rows, scores = brute_force(asked, vectors, 10)
            for hits, expected, exact in zip(
                collection.search(asked, 10, effort=EXACT), rows, scores, strict=True
            ):
                assert hits.ids == [f"id{200 + n}" for n in expected]
                assert hits.scores.tobytes() == exact.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_files_hold_the_collections_dtype(filled, dtype):
    path = filled("Flat", dtype=dtype)
    with Collection.open(path, background=False) as collection:
        segment = collection._memory.view.segments[0]
        assert segment.vectors_ND.dtype == dtype and not segment.vectors_ND.flags.writeable
        assert segment.max_norm == pytest.approx(1, abs=1e-3)
        itemsize = np.dtype(dtype).itemsize
        assert segment.sealed.rows.size == 64 + 8 * (ROWS - 100) + 32 + itemsize * WIDTH * (ROWS - 100)


@pytest.mark.parametrize("name", ["1.rows", "1.faiss"])
@pytest.mark.parametrize("harm", ["flip", "cut", "grow", "empty", "remove"])
def test_a_damaged_file_is_noticed_and_its_rows_come_from_the_database(filled, unit, name, harm):
    path = filled()
    asked = unit(5, WIDTH, seed=6)
    expected = answers(path, asked)
    file = path / "segments" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    harmed = {"flip": content, "cut": content[:-8], "grow": content + b"\0", "empty": b""}
    if harm == "remove":
        file.unlink()
    else:
        file.write_bytes(harmed[harm])
    with Collection.open(path, background=False) as collection:
        state = collection.info()
        assert len(state.degraded) == 1 and state.segments == [] and state.tail == state.count == ROWS + 100
        assert collection.seal() == ROWS + 100
        assert collection.info().degraded == []
    assert answers(path, asked) == expected
    assert len(list((path / "segments").iterdir())) == 2  # the damaged ones are gone


def test_control_without_checksums_a_damaged_file_is_accepted(filled, unit, monkeypatch):
    path = filled()
    asked = unit(200, WIDTH, seed=6)
    expected = answers(path, asked)
    file = path / "segments" / "1.rows"
    content = bytearray(file.read_bytes())
    for n in range(
        64 + 8 * (ROWS - 100) + 32, len(content), 64
    ):  # the exponent of a component of each vector
        content[n + 3] ^= 64
    file.write_bytes(content)
    monkeypatch.setattr(sealed, "verify", lambda files, path, stamp: None)
    assert answers(path, asked) != expected


def test_segments_with_other_rows_than_the_database_are_not_believed(filled, unit):
    path = filled()
    with Collection.open(path, background=False) as collection:
        with collection._database.transaction() as connection:
            connection.execute("DELETE FROM row WHERE row_id = 400")  # of id399
    with Collection.open(path, background=False) as collection:
        assert collection.info().segments == [] and collection.info().degraded
        assert collection.search(unit(ROWS + 300, WIDTH)[399:400], 1)[0].ids != ["id399"]


def test_a_segment_that_broke_off_two_openings_is_set_aside(filled, unit, monkeypatch):
    path = filled()
    asked = unit(5, WIDTH, seed=6)
    expected = answers(path, asked)

    class Killed(BaseException):
        pass

    def crash(*arguments):
        raise Killed

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(sealed, "read_index", crash)
            Collection.open(path)
    with Collection.open(path, background=False) as collection:
        assert "broke off 2 openings" in collection.info().degraded[0]
        assert collection.info().segments == []
    assert answers(path, asked) == expected


def test_control_openings_that_end_well_are_not_counted(filled, unit):
    path = filled()
    for _ in range(4):
        Collection.open(path, background=False).close()
    with Collection.open(path, background=False) as collection:
        assert len(collection.info().segments) == 1


def test_files_of_no_segment_are_removed_at_opening(filled):
    path = filled()
    for name in ("7.rows", "8.faiss.tmp"):
        (path / "segments" / name).write_bytes(b"left by a crash")
    Collection.open(path).close()
    assert sorted(file.name for file in (path / "segments").iterdir()) == ["1.faiss", "1.rows"]


@pytest.mark.parametrize("write", range(1, 8))
def test_a_full_disk_leaves_the_old_segments_and_no_file(filled, unit, monkeypatch, write):
    path = filled()
    asked = unit(5, WIDTH, seed=6)
    expected = answers(path, asked)
    with Collection.open(path, background=False) as collection:
        count = 0
        honest = sealed._Checked.put

        def full(self, data):
            nonlocal count
            count += 1
            if count >= write:
                raise StorageFull("no room")
            honest(self, data)

        with monkeypatch.context() as patch:
            patch.setattr(sealed._Checked, "put", full)
            with pytest.raises(StorageFull):
                collection.compact()
        assert sorted(file.name for file in (path / "segments").iterdir()) == ["1.faiss", "1.rows"]
        assert collection.info().tail == 400
        assert collection.compact() == 200  # goes on as soon as there is room
        (segment,) = collection.info().segments
        assert (segment.rows, segment.dead) == (ROWS + 100, 0)
    assert answers(path, asked) == expected


def test_compact_drops_dead_rows_from_memory_files_and_database(filled, unit):
    path = filled()
    asked = unit(5, WIDTH, seed=6)
    expected = answers(path, asked)
    with Collection.open(path, background=False) as collection:
        assert collection.compact() == 200
        assert collection.compact() == 0
        with collection._database.reader() as connection:
            assert connection.execute("SELECT count(*) FROM row").fetchall() == [(ROWS + 100,)]
            assert connection.execute("SELECT count(*) FROM vector").fetchall() == [(ROWS + 100,)]
    assert answers(path, asked) == expected
    with Collection.open(path, background=False) as collection:
        collection.delete_where(Equal("group", 3))
        collection.delete([f"id{n}" for n in range(ROWS + 300)])
        assert collection.compact() == ROWS + 100 and collection.info().segments == []
        assert collection.search(asked, 5)[0].ids == []
    assert list((path / "segments").iterdir()) == []


def test_verify_names_what_was_got_and_expected(tmp_path):
    file = tmp_path / "1.rows"
    file.write_bytes(b"abc")
    with pytest.raises(CorruptCollection, match="3 bytes, expected 4"):
        sealed.verify(Files(), file, Stamp(4, 0))
    with pytest.raises(CorruptCollection, match="checksum 352441c2, expected 00000000"):
        sealed.verify(Files(), file, Stamp(3, 0))


def test_small_collections_are_never_sealed_by_themselves(collection, unit):
    collection.upsert([f"id{n}" for n in range(500)], unit(500))
    assert policy.due(policy.Policy("Flat"), collection._memory.view) is None
    assert not (collection.path / "segments").exists()
