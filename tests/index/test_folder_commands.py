"""`polylens collection verify | inspect | info | compact | snapshot | restore` on a folder."""

import sys
from pathlib import Path

import pytest
from polylens.cli import main
from polylens.index import Collection


@pytest.fixture
def folder(tmp_path: Path, unit) -> Path:
    with Collection.create(tmp_path / "photos", dim=64, fingerprint="model-a") as made:
        made.upsert([f"id{n}" for n in range(2_000)], unit(2_000, 64))
        made.seal()
    # Without the background, which would soon take the deleted rows away.
    with Collection.open(tmp_path / "photos", background=False) as made:
        made.delete([f"id{n}" for n in range(1_500)])
    return tmp_path / "photos"


@pytest.fixture
def run(monkeypatch, capsys):
    """A function: arguments of `polylens collection` -> exit code, output, errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["polylens", "collection", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


def test_a_collection_is_checked_copied_restored_and_shrunk(folder, run, tmp_path):
    code, output, _ = run("verify", folder)
    assert (
        code == 0
        and output.startswith("500 items, 1,500 deleted rows, 1 segments")
        and "all is well" in output
    )
    for name in ("inspect", "info"):
        code, output, _ = run(name, folder)
        assert code == 0 and "64 x float32, cosine" in output and "model-a" in output and "Flat" in output
    code, output, _ = run("snapshot", folder, tmp_path / "photos.tar")
    assert code == 0 and "500 items" in output
    code, output, _ = run("restore", tmp_path / "photos.tar", tmp_path / "again")
    assert code == 0 and f"restored {tmp_path / 'again'}" in output
    before = (folder / "collection.db").stat().st_size
    code, output, _ = run("compact", folder)
    assert code == 0 and output.startswith("dropped 1,500 rows; ")
    assert (folder / "collection.db").stat().st_size < before / 2
    assert run("verify", folder)[1].startswith("500 items, 0 deleted rows, 1 segments")
    for path in (folder, tmp_path / "again"):
        with Collection.open(path) as collection:
            assert collection.count() == 500


def test_damage_to_a_segment_is_told_from_loss(folder, run):
    path = next((folder / "segments").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    code, output, errors = run("verify", folder)
    assert code == 1 and "segment: segment " in output and "has all its items" in errors
    database = folder / "collection.db"
    database.write_bytes(database.read_bytes()[:-50_000])
    code, output, errors = run("verify", folder)
    assert code == 1 and "database: " in output and "restore a snapshot" in errors


@pytest.mark.parametrize("arguments", [["verify"], ["inspect"], ["compact"], ["snapshot", "s.tar"]])
def test_refusals_are_one_line(arguments, run, tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *rest = arguments
    code, output, errors = run(name, tmp_path / "nothing", *rest)
    assert (code, output) == (
        1,
        "",
    ) and errors == f"polylens: there is no collection in {tmp_path / 'nothing'}\n"
    with Collection.open(folder):
        code, output, errors = run(name, folder, *rest)
    assert (code, output) == (1, "") and "is in use by process" in errors and errors.count("\n") == 1


def test_a_file_that_is_no_snapshot_is_refused(run, tmp_path):
    (tmp_path / "s.tar").write_text("hello")
    code, _, errors = run("restore", tmp_path / "s.tar", tmp_path / "r")
    assert code == 1 and "the archive ends" in errors
    assert run("restore", tmp_path / "none.tar", tmp_path / "r")[0] == 1
    assert not (tmp_path / "r").exists()
