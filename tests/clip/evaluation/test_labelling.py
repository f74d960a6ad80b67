"""`polylens classify` in this process: probabilities, CSV, the grid of pictures, what cannot be read."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polylens
import pytest
from PIL import Image
from polylens.cli import app
from polylens.clip.evaluation.labelling import label_pictures
from polylens.errors import InvalidInput
from typer.testing import CliRunner

LABELS = ["red circle", "blue square", "绿色"]


@pytest.fixture
def pictures(layouts: Any, tmp_path: Path) -> dict[str, Path]:
    files = {"r.png": "red circle", "b.png": "blue square"}
    for name, what in files.items():
        layouts.picture(what, 1, noise=0).save(tmp_path / name)
    return {name: tmp_path / name for name in files}


def test_probabilities_are_the_softmax_of_the_cosines(pictures: dict[str, Path]) -> None:
    encoder = polylens.load("mini", device="cpu")
    found, unread = label_pictures(encoder, pictures, LABELS, templates=["{}", "a {c}"])
    texts = encoder.encode_texts([text for label in LABELS for text in (label, f"a {label}")])
    means = texts.reshape(3, 2, -1).mean(1)
    cosines = encoder.encode_images([pictures["r.png"]]) @ (means / np.linalg.norm(means, axis=1)[:, None]).T
    weights = np.exp(encoder.logit_scale * cosines[0].astype(float))
    told = {one.label: one.probability for one in found["r.png"]}
    assert told == pytest.approx(dict(zip(LABELS, weights / weights.sum(), strict=True)), abs=1e-4)
    assert unread == {} and found["r.png"][0].label == LABELS[int(weights.argmax())]
    for labels, templates, message in (
        ([], [], "each once"),
        (["a", "a"], [], "each once"),
        (["a"], ["x"], "{}"),
    ):
        with pytest.raises(InvalidInput, match=message):
            label_pictures(encoder, pictures, labels, templates=templates)


def test_the_command_tells_writes_and_draws(pictures: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="the grid is drawn by resvg")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS), "utf-8")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    command = ["classify", str(tmp_path), "--labels", str(tmp_path / "labels.txt"), "--top", "2", "--json"]
    command += ["--csv", str(tmp_path / "t.csv"), "--grid", str(tmp_path / "grid")]  # not found as a picture
    done = CliRunner().invoke(app, command, env={"POLYLENS_SERVER": ""})
    assert isinstance(done.exception, InvalidInput) and "broken.jpg" in str(done.exception)
    told = json.loads(done.stdout)
    assert told.keys() == {"b.png", "r.png"}
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text("utf-8").splitlines()))
    assert [row["label"] for row in rows if row["rank"] == "1"] == [told[id][0]["label"] for id in told]
    grid = Image.open(io.BytesIO((tmp_path / "grid").read_bytes()))
    colours = {colour for _, colour in grid.convert("RGB").getcolors(2**24)}
    assert {(0xDD, 0x2E, 0x44), (0x55, 0xAC, 0xEE)} <= colours  # both pictures are in it
    assert CliRunner().invoke(app, ["classify", str(tmp_path)]).exit_code == 2
