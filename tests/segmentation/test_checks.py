"""What is wrong is said before the first step; each fault is planted, the run without it passes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from polylens.errors import InvalidInput
from polylens.segmentation.errors import BadRun
from polylens.segmentation.runs import Options, check_run, load_config

Make = Callable[..., Config]


@pytest.fixture
def copied(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "copied"))


@pytest.fixture
def config_of_copy(config: Make, copied: Path) -> Config:
    made = config("linear_frozen")
    for part in ("train", "val", "test"):
        made[f"{part}_dataloader"].dataset.data_root = str(copied)
    return made


def refusal(config: Config, parts: tuple[str, ...] = ("train", "val")) -> str:
    with pytest.raises(BadRun) as raised:
        check_run(config, parts)
    return str(raised.value)


def mask(folder: Path) -> Path:
    return sorted((folder / "annotations" / "training").glob("*.png"))[3]


def test_control_a_run_without_faults_passes(config_of_copy: Config) -> None:
    check_run(config_of_copy, ("train", "val", "test"))


def test_a_head_with_another_number_of_classes(config: Make) -> None:
    made = config("upernet_full")
    made.model.auxiliary_head.num_classes = 150
    message = refusal(made)
    assert "auxiliary_head has num_classes=150, the data set has 8 classes" in message
    assert "decode_head has" not in message


def test_missing_masks(config_of_copy: Config, copied: Path) -> None:
    mask(copied).unlink()
    message = refusal(config_of_copy)
    assert f"1 of 8 masks are missing: {mask(copied).parent}" in message.replace(
        "drawn_training_00003.png", ""
    )


def test_a_value_out_of_range(config_of_copy: Config, copied: Path) -> None:
    values = np.array(Image.open(mask(copied)))
    values[20:30, 20:30] = 77
    values[0, 0] = 255  # means: no class
    Image.fromarray(values).save(mask(copied))
    path = mask(copied)
    assert f"1 of 8 masks looked at are wrong: {path} holds 77, expected 0 to 8 or 255" in refusal(
        config_of_copy
    )


def test_a_mask_of_colours(config_of_copy: Config, copied: Path) -> None:
    Image.open(mask(copied)).convert("RGB").save(mask(copied))
    assert "has channels R/G/B, expected one with class numbers" in refusal(config_of_copy)


def test_a_mask_of_another_size(config_of_copy: Config, copied: Path) -> None:
    Image.open(mask(copied)).resize((35, 28)).save(mask(copied))
    assert "is 35x28, its image 70x56" in refusal(config_of_copy)


def test_a_damaged_mask(config_of_copy: Config, copied: Path) -> None:
    mask(copied).write_bytes(mask(copied).read_bytes()[:60])
    assert "is unreadable" in refusal(config_of_copy)


def test_no_images(config_of_copy: Config, copied: Path) -> None:
    for image in (copied / "images" / "validation").iterdir():
        image.unlink()
    assert f"has no images in {copied}/images/validation" in refusal(config_of_copy)


def test_no_folder(config: Make) -> None:
    made = config()
    made.train_dataloader.dataset.data_root = "/no/such/folder"
    message = refusal(made)
    assert "data set cannot be read" in message
    assert "/no/such/folder/images/training" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.backbone.type": "InternViT7B"}, "InternViT7B is not in the mmseg::model registry"),
        ({"model.backbone.taps": [9]}, "taps must be layers 0 to 3"),
        ({"model.decode_head.in_channels": 32}, "model cannot be built"),
        (
            {"model.data_preprocessor.size": (60, 60)},
            r"size is (60, 60), expected multiples of the patch size 14",
        ),
        ({"model.test_cfg.crop_size": (50, 56)}, "crop_size is (50, 56), expected multiples"),
        ({"model.decode_head.num_clases": 8}, "unexpected keyword argument 'num_clases'"),
    ],
)
def test_a_model_that_cannot_be_built(config: Make, settings: dict[str, Any], message: str) -> None:
    assert message in refusal(config("linear_frozen", **settings))


def test_a_config_without_a_model(config: Make) -> None:
    made = config()
    made.pop("model")
    made.pop("train_dataloader")
    assert refusal(made) == "the config has no model, train_dataloader"


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("model = dict(", (), "no usable config: SyntaxError"),
        ("_base_ = ['gone.py']", (), "no usable config: FileNotFoundError"),
        ("model = dict()", ("model",), "--cfg-options are key=value, got model"),
    ],
)
def test_configs_that_do_not_read(tmp_path: Path, text: str, settings: tuple[str, ...], message: str) -> None:
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(BadRun, match=message):
        load_config(path, Options(settings=settings))


def test_a_config_that_is_not_there() -> None:
    with pytest.raises(
        InvalidInput, match="gone.py is neither a config file nor one of: .*tiny/linear_frozen"
    ):
        load_config("gone.py")
