"""`polylens segment`: what each command prints and leaves behind, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from polylens.cli import app
from polylens.segmentation.drawn import CLASSES, PALETTE
from polylens.segmentation.errors import BadRun
from typer.testing import CliRunner

Make = Callable[..., Config]


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["segment", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def file(config: Make, tmp_path: Path) -> Path:
    config("linear_frozen").dump(tmp_path / "mine.py")
    return tmp_path / "mine.py"


def test_train_resume_test_and_predict(file: Path, drawn: Path, tmp_path: Path) -> None:
    work = tmp_path / "run"
    settings = ["--cfg-options", "train_dataloader.batch_size=3", "randomness.seed=5"]
    assert str(work) in run("train", file, "--work-dir", work, *settings)
    assert "batch_size=3" in (work / "mine.py").read_text()
    run("train", file, "--work-dir", work, "--resume", "--cfg-options", "train_cfg.max_iters=4")
    assert (work / "iter_4.pth").is_file()

    masks = tmp_path / "masks"
    metrics = run("test", file, work / "iter_4.pth", "--out", masks, "--work-dir", work)
    assert "mIoU" in metrics
    assert len(list(masks.glob("*.png"))) == 2

    folder = drawn / "images" / "validation"
    printed = run("predict", file, work / "iter_4.pth", folder, "--out", tmp_path / "seen", "--device", "cpu")
    assert printed.count("%") >= 2
    with Image.open(tmp_path / "seen" / "drawn_validation_00000_classes.png") as found:
        assert (found.mode, found.size) == ("P", (70, 56))
        assert np.unique(np.asarray(found)).max() < len(CLASSES)
        colours = [channel for colour in PALETTE for channel in colour]
        assert found.getpalette()[: len(colours)] == colours
    with Image.open(tmp_path / "seen" / "drawn_validation_00001_overlay.png") as overlay:
        assert overlay.width > 70

    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(BadRun, match="bad.jpg is no readable image"):
        run("predict", file, work / "iter_4.pth", bad, "--out", tmp_path / "seen")
    with pytest.raises(BadRun, match="gone.jpg does not exist"):
        run("predict", file, work / "iter_4.pth", tmp_path / "gone.jpg")


def test_the_configs_are_listed() -> None:
    assert "intern_vit_6b_224px/upernet_full\n" in run("configs")


def test_draw(tmp_path: Path) -> None:
    run("draw", tmp_path / "set", "--training", 3, "--validation", 1)
    assert len(list((tmp_path / "set" / "images" / "training").iterdir())) == 3
    with Image.open(next((tmp_path / "set" / "annotations" / "validation").iterdir())) as mask:
        assert set(np.unique(np.asarray(mask))) <= set(range(len(CLASSES) + 1))


def test_a_stray_argument_is_refused(file: Path) -> None:
    result = CliRunner().invoke(app, ["segment", "train", str(file), "stray"])
    assert result.exit_code == 2
    assert "unexpected arguments: stray" in result.output
