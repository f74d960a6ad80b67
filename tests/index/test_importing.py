"""Folders of vectors come in and go out whole, by rows and by metadata, however often it is broken off."""

import hashlib
import json
import subprocess
import sys
import time

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from polylens.cli import main
from polylens.errors import InvalidInput
from polylens.index import Collection, bulk, source, verify
from polylens.index.errors import DimensionMismatch, FingerprintMismatch, InvalidVector
from polylens.index.exporting import export
from polylens.index.importing import import_source
from polylens.index.source import find

WIDTH = 8


def silent(*_):
    pass


def run(collection, found, **options):
    return import_source(collection, found, progress=silent, steps=silent, **options)


def folder_like_clip_retrieval(folder, unit, files=3, rows=40, dtype="float16", manifest=True):
    """As clip-retrieval and `polylens embed` lay it out; the vectors by id."""
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    expected = {}
    shards = []
    for number in range(files):
        vectors = unit(rows, WIDTH, seed=number).astype(dtype)
        np.save(folder / f"img_emb/img_emb_{number}.npy", vectors)
        np.save(folder / f"text_emb/text_emb_{number}.npy", -vectors)
        ids = [f"{number}/{n}.jpg" for n in range(rows)]
        table = {"image_path": ids, "caption": [None if n == 3 else f"Bär {n}" for n in range(rows)],
                 "width": list(range(rows)), "score": [float("nan")] + [0.5] * (rows - 1)}  # fmt: skip
        parquet.write_table(
            pyarrow.table(table), folder / f"metadata/metadata_{number}.parquet", row_group_size=7
        )
        expected |= dict(zip(ids, vectors, strict=True))
        names = (f"img_emb/img_emb_{number}.npy", f"metadata/metadata_{number}.parquet")
        sums = {name: {"sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()} for name in names}
        shards.append({"files": sums})
    if manifest:
        (folder / "manifest.json").write_text(json.dumps({"fingerprint": "model-x", "shards": shards}))
    return expected


@pytest.fixture
def out(tmp_path, unit):
    return tmp_path / "out", folder_like_clip_retrieval(tmp_path / "out", unit)


@pytest.fixture
def target(tmp_path):
    with Collection.create(tmp_path / "c", dim=WIDTH, fingerprint="model-x", dtype="float16") as made:
        yield made


def held(collection):
    return {record.id: record.vector.astype(collection.dtype).tobytes() for record in collection.scan(10_000)}


def test_a_clip_retrieval_folder_comes_in_bit_by_bit_with_its_metadata(out, target):
    folder, expected = out
    found = find(folder)
    assert (found.dim, found.dtype, found.rows, found.manifest["fingerprint"]) == (
        8,
        "float16",
        120,
        "model-x",
    )
    done = run(target, found)
    assert (done.rows, done.stored, done.earlier) == (120, 120, 0)
    assert held(target) == {id: vector.tobytes() for id, vector in expected.items()}
    first, fourth = target.get(["1/0.jpg", "1/3.jpg"])
    assert first.metadata == {"image_path": "1/0.jpg", "caption": "Bär 0", "width": 0}
    assert fourth.metadata == {"image_path": "1/3.jpg", "width": 3, "score": 0.5}
    assert run(target, found).earlier == 120 and target.count() == 120


def test_texts_and_other_columns_can_be_chosen(out, target):
    folder, expected = out
    run(target, find(folder, "text_emb"), id_column="image_path")
    assert held(target) == {id: (-vector).tobytes() for id, vector in expected.items()}
    with pytest.raises(InvalidInput, match="no column 'name'"):
        run(target, find(folder, "text_emb"), id_column="name")


def test_pieces_are_cut_and_joined_and_a_broken_off_import_goes_on(out, target, monkeypatch):
    folder, expected = out
    monkeypatch.setattr(source, "PIECE_ROWS", 32)
    found = find(folder)
    assert [piece.rows for piece in found.pieces] == [32, 8, 32, 8, 32, 8]
    honest, calls = bulk.mark, []

    def stop_at_the_third(connection, ids):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return honest(connection, ids)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(bulk, "mark", stop_at_the_third)
        run(target, found)
    path = target.path
    target.close()
    with Collection.open(path, background=False) as again:
        assert again.count() == 40
        done = run(again, found)
        assert (done.stored, done.earlier) == (80, 40)
        assert held(again) == {id: vector.tobytes() for id, vector in expected.items()}
    assert verify(path).findings == []
    monkeypatch.setattr(source, "PIECE_ROWS", 90)
    assert [piece.rows for piece in find(folder).pieces] == [80, 40]


WORKER = """
import sys
from pathlib import Path
from polylens.index import Collection, source
from polylens.index.importing import import_source
source.PIECE_ROWS = 8
quiet = lambda *_: None
with Collection.create(sys.argv[2], dim=8, fingerprint="f", dtype="float16", exist_ok=True) as collection:
    print("open", flush=True)
    import_source(collection, source.find(Path(sys.argv[1])), progress=quiet, steps=quiet)
"""


def test_an_import_that_is_killed_again_and_again_comes_to_its_end(out, tmp_path):
    folder, expected = out
    command = [sys.executable, "-c", WORKER, str(folder), str(tmp_path / "k")]
    counts = []
    for delay in (0, 0.01, 0.03, 0.05, 0.02):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
            worker.stdout.readline()
            time.sleep(delay)
            worker.kill()
        with Collection.open(tmp_path / "k", background=False) as collection:
            assert {id: expected[id].tobytes() for id in held(collection)} == held(collection)
            counts.append(collection.count())
    assert counts == sorted(counts) and counts[0] < 120
    subprocess.run(command, check=True, capture_output=True)
    with Collection.open(tmp_path / "k", background=False) as collection:
        assert held(collection) == {id: vector.tobytes() for id, vector in expected.items()}
    assert verify(tmp_path / "k").findings == []


def test_plain_arrays_get_their_names_and_rows_as_ids(tmp_path, unit, target):
    np.save(tmp_path / "birds.npy", unit(5))
    np.save(tmp_path / "cats.npy", unit(4, seed=1))
    parquet.write_table(pyarrow.table({"n": range(4)}), tmp_path / "cats.parquet")
    run(target, find(tmp_path))
    assert list(held(target)) == [f"birds:{n}" for n in range(5)] + [f"cats:{n}" for n in range(4)]
    assert target.get(["cats:2"])[0].metadata == {"n": 2}


def test_what_does_not_belong_is_refused_with_what_was_got(out, target, tmp_path, unit):
    folder, _ = out
    (folder / "img_emb/img_emb_1.npy").write_bytes((folder / "img_emb/img_emb_0.npy").read_bytes())
    with pytest.raises(InvalidInput, match="SHA-256"):
        run(target, find(folder))
    assert target.count() == 0  # the three files are one piece
    np.save(tmp_path / "wide.npy", unit(3, 9))
    with pytest.raises(DimensionMismatch, match=r"expected \(N, 8\)"):
        run(target, find(tmp_path))
    np.save(tmp_path / "wide.npy", 3 * unit(3))
    with pytest.raises(InvalidVector, match="not a unit vector"):
        run(target, find(tmp_path))
    assert run(target, find(tmp_path), normalize=True).stored == 3
    for content in (b"", b"\x93NUMPYnonsense"):
        (tmp_path / "wide.npy").write_bytes(content)
        with pytest.raises(InvalidInput, match="wide.npy"):
            find(tmp_path)
    np.save(tmp_path / "wide.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InvalidInput, match="not a readable"):
        find(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="holds no vectors"):
        find(tmp_path / "empty")


def test_a_collection_goes_out_and_comes_in_again(target, tmp_path, unit):
    target.upsert([f"id{n}" for n in range(25)], unit(25), [{"n": n, "t": ["ä", None]} for n in range(25)])
    target.delete(["id3"])
    seen = []
    assert export(target, tmp_path / "x", lambda done, of: seen.append((done, of)), file_rows=10) == 24
    assert seen == [(10, 24), (20, 24), (24, 24)]
    with Collection.create(tmp_path / "d", dim=WIDTH, fingerprint="model-x", dtype="float16") as other:
        assert run(other, find(tmp_path / "x")).stored == 24
        assert held(other) == held(target)
        assert [r.metadata for r in other.scan(100)] == [r.metadata for r in target.scan(100)]
    with pytest.raises(InvalidInput, match="other files"):
        export(target, tmp_path / "x", silent)
    (tmp_path / "x" / "manifest.json").unlink()  # as if it had been broken off
    (tmp_path / "x" / "items_00002.parquet").unlink()
    assert export(target, tmp_path / "x", silent, file_rows=10) == 24


def test_the_commands(out, tmp_path, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["polylens", "collection", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, capsys.readouterr()

    folder, expected = out
    code, said = call("import", folder, tmp_path / "photos")
    assert (code, said.out) == (0, f"stored 120 of 120 rows; {tmp_path / 'photos'} has 120 items\n")
    assert "120 were there before" in call("import", folder, tmp_path / "photos")[1].out
    assert (
        call("export", tmp_path / "photos", tmp_path / "x")[1].out == f"wrote 120 rows to {tmp_path / 'x'}\n"
    )
    assert call("import", tmp_path / "x", tmp_path / "copy")[0] == 0
    with Collection.open(tmp_path / "copy") as copy:
        assert held(copy) == {id: vector.tobytes() for id, vector in expected.items()}
    (folder / "manifest.json").unlink()
    code, said = call("import", folder, tmp_path / "photos")
    assert code == 1 and "--fingerprint" in said.err
    assert call("import", folder, tmp_path / "photos", "--fingerprint", "other")[0] == 1
    with pytest.raises(FingerprintMismatch):
        Collection.open(tmp_path / "photos", fingerprint="other")
