"""A drawn data set, a tiny config on it, and the fixtures computed by the original code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg", reason="needs polylens[segmentation]")
pytest.importorskip("mmcv", reason="needs polylens[segmentation]")

from mmengine.config import Config
from polylens.segmentation.drawn import write
from polylens.segmentation.runs import Options, load_config

GOLDEN = Path(__file__).parents[1] / "golden"
# The sizes of tests/golden/pth/intern_vit_tiny.pth, where the fixtures in tests/golden/segmentation start.
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 56,
    "patch_size": 14,
}
# What mmseg and mmengine say about themselves is not ours to mend.
NOISE = ("mmseg", "mmengine", "mmcv", "torch", "multiprocessing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            for package in NOISE:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:::{package}"))


@pytest.fixture
def size() -> dict[str, int]:
    return dict(TINY)


@pytest.fixture
def weights() -> str:
    return str(GOLDEN / "pth" / "intern_vit_tiny.pth")


@pytest.fixture(scope="session")
def golden() -> dict[str, torch.Tensor]:
    """expected.npz and inputs.npz, made with OpenGVLab/InternVL (2410d1db) on seeded random weights."""
    arrays = {}
    for name in ("inputs", "expected"):
        with np.load(GOLDEN / "segmentation" / f"{name}.npz", allow_pickle=False) as file:
            arrays.update({key: torch.from_numpy(file[key]) for key in file})
    return arrays


@pytest.fixture
def golden_state() -> Callable[[str], dict[str, torch.Tensor]]:
    """A function: fpn_up_weights or fcn_head -> its parameters, named as in the original's checkpoints."""

    def read(name: str) -> dict[str, torch.Tensor]:
        path = GOLDEN / "segmentation" / f"{name}.pth"
        state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
        return state

    return read


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training images and two for validation, 56 x 70 pixels; not to be written to."""
    folder = tmp_path_factory.mktemp("drawn")
    write(folder, training=8, validation=2, size=(56, 70))
    return folder


@pytest.fixture
def config(drawn: Path, tmp_path: Path, size: dict[str, int], weights: str) -> Callable[..., Config]:
    """A function: name of a tiny config, steps, settings -> it, for the drawn set and a tiny backbone."""

    def make(name: str = "upernet_full", *, steps: int = 2, work: str = "work", **settings: Any) -> Config:
        made = load_config(f"tiny/{name}", Options(work_dir=tmp_path / work))
        # Shared objects: test_dataloader is val_dataloader.
        for part in ("train", "val", "test"):
            made[f"{part}_dataloader"].dataset.data_root = str(drawn)
            made[f"{part}_dataloader"].batch_size = 2 if part == "train" else 1
        made.model.backbone.update(size=size, pretrained=weights, image_size=56)
        made.model.backbone.taps = [0, 1, 2, 3] if "upernet" in name else [2]
        wide = [64] * 4 if "upernet" in name else 64
        made.model.decode_head.in_channels = wide
        if made.model.auxiliary_head:
            made.model.auxiliary_head.update(in_channels=64, channels=8)
            made.model.decode_head.channels = 8
        made.model.data_preprocessor.size = made.model.test_cfg.crop_size = (56, 56)
        made.model.test_cfg.stride = (28, 28)
        made.train_dataloader.dataset.pipeline[3].crop_size = (56, 56)
        made.train_dataloader.dataset.pipeline[2].scale = (224, 56)
        made.test_dataloader.dataset.pipeline[1].update(scale=(224, 56), shorter=56)
        made.val_dataloader.dataset.pipeline[1].update(scale=(224, 56), shorter=56)
        made.train_cfg.update(max_iters=steps, val_interval=1000)
        made.default_hooks.checkpoint.update(interval=2, save_best=None)
        made.merge_from_dict(settings)
        return made

    return make
