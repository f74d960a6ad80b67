"""`polylens embed` from the command line: a job, its check, its going on, and a few vectors in one file."""

import json
from pathlib import Path

import numpy as np
import polylens
import pytest
from click.testing import Result
from polylens.cli import app
from polylens.errors import PolylensError
from typer.testing import CliRunner

from .toy_job import picture


def embed(*arguments: object) -> Result:
    environment = {"COLUMNS": "160", "POLYLENS_SERVER": None}
    return CliRunner().invoke(app, ["embed", *map(str, arguments)], env=environment)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(picture(i))
        (folder / f"{i}.txt").write_text(f"picture {i}")
    (folder / "bad.jpg").write_bytes(b"x")
    return folder


def test_a_job_its_check_and_its_going_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    job = ("--take", "both", "--unit-size", 3, "--store", "float32", "--parquet", "--workers", 0)
    told = embed(photos, out, *job)
    assert told.exit_code == 0, told.output
    assert f"5 rows of 256 numbers in {out}, 1 refused" in told.stdout
    manifest = json.loads((out / "manifest.json").read_text())
    encoder = polylens.load("mini")
    assert manifest["fingerprint"] == encoder.fingerprint and manifest["rows"] == 5
    first = np.load(out / "img_emb" / "img_emb_0.npy", allow_pickle=False)
    files = [photos / f"{i}.png" for i in range(3)]
    assert np.allclose(first, encoder.encode_images(files), atol=1e-5)
    assert (out / "summary.png").exists()
    checked = embed(out, "--verify")
    assert checked.exit_code == 0 and "2 units are whole: 5 rows, 1 refused" in checked.stdout
    (out / "img_emb" / "img_emb_1.npy").unlink()
    broken = embed(out, "--verify")
    assert isinstance(broken.exception, PolylensError) and "unit 1 is not done" in broken.stderr
    assert embed(photos, out, *job).exit_code == 0 and embed(out, "--verify").exit_code == 0
    refused = embed(photos, out, *job, "--fast-jpeg")
    assert isinstance(refused.exception, PolylensError) and "fingerprint" in str(refused.exception)


def test_a_text_file_becomes_texts(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a red apple\n两只猫\n")
    told = embed(tmp_path / "t.txt", tmp_path / "out")
    assert told.exit_code == 0, told.output
    assert len(np.load(tmp_path / "out" / "text_emb" / "text_emb_0.npy", allow_pickle=False)) == 2


def test_a_few_without_a_server(photos: Path, tmp_path: Path) -> None:
    encoder, out = polylens.load("mini"), tmp_path / "few.npz"
    assert embed(out, "--text", "a", "-t", "b").exit_code == 0
    with np.load(out, allow_pickle=False) as found:
        assert found["ids"].tolist() == ["a", "b"]
        assert np.array_equal(found["vectors"], encoder.encode_texts(["a", "b"]))
    assert embed(photos / "0.png", out).exit_code == 0
    with np.load(out, allow_pickle=False) as found:
        assert found["ids"].tolist() == ["0.png"]


@pytest.mark.parametrize(
    "wrong", [["out"], ["photos", "out", "--text", "a"], ["out.npz"], ["a.png", "out.npz", "--text", "a"]]
)
def test_wrong_usage_is_said_so(wrong: list[str]) -> None:
    assert embed(*wrong).exit_code == 2
