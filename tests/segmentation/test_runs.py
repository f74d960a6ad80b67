"""Training stops and goes on as if it had not; a config of mmsegmentation's own zoo trains beside ours."""

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from polylens.segmentation import runs
from polylens.segmentation.errors import BadRun
from polylens.segmentation.runs import Options, load_config, shipped_configs

Make = Callable[..., Config]
ZOO = Path(mmseg.__file__).parent / ".mim"


def weights_of(folder: Path, step: int) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / f"iter_{step}.pth", weights_only=True)["state_dict"]
    return state


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def stopped_and_resumed(config: Make, work: str, **settings: Any) -> Path:
    """Two steps, then a new run that goes on to the fourth."""
    runs.train(config(steps=2, work=work, **settings))
    torch.manual_seed(99)  # a new process would not have the old one's state either
    return runs.train(config(steps=4, work=work, **settings), Options(resume=True))


def test_a_resumed_run_ends_at_the_same_weights(config: Make) -> None:
    unbroken = runs.train(config(steps=4, work="unbroken"))
    resumed = stopped_and_resumed(config, "resumed")
    assert equal(weights_of(unbroken, 4), weights_of(resumed, 4))
    assert not equal(weights_of(resumed, 2), weights_of(resumed, 4))
    # Control: without the hook, drop path and dropout draw other numbers.
    other = stopped_and_resumed(config, "control", custom_hooks=[])
    assert equal(weights_of(unbroken, 2), weights_of(other, 2))
    assert not equal(weights_of(unbroken, 4), weights_of(other, 4))


def test_a_config_of_the_zoo_trains_beside_ours(config: Make, drawn: Path, tmp_path: Path) -> None:
    settings = [
        "model.pretrained=None",  # its weights are on the network
        f"train_dataloader.dataset.data_root={drawn}",
        f"val_dataloader.dataset.data_root={drawn}",
        "train_dataloader.batch_size=2",
        "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False",
        # Its pictures have 512 pixels a side, too many for a test.
        "train_dataloader.dataset.pipeline.2.scale=(256,64)",
        "train_dataloader.dataset.pipeline.3.crop_size=(64,64)",
        "model.data_preprocessor.size=(64,64)",
        "train_cfg.max_iters=1",
        "default_hooks.checkpoint.interval=1",
        "default_hooks.checkpoint.save_optimizer=False",
    ]
    path = ZOO / "configs" / "upernet" / "upernet_r50_4xb4-80k_ade20k-512x512.py"
    theirs = runs.train(load_config(path, Options(work_dir=tmp_path / "zoo", settings=settings)))
    ours = runs.train(config("linear_frozen", steps=2))
    assert "backbone.layer4.2.conv3.weight" in weights_of(theirs, 1)
    assert "backbone.vit.encoder.layers.3.mlp.fc1.weight" in weights_of(ours, 2)


def with_mmsegs_script(config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains in the folder `w` by mmsegmentation's tools/train.py, which knows nothing of ours."""
    config.dump(folder / "mine.py")
    script = ZOO / "tools" / "train.py"
    words = [script, folder / "mine.py", "--work-dir", folder / "w"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    monkeypatch.setenv("LOCAL_RANK", "0")
    runpy.run_path(str(script), run_name="__main__")


def test_mmsegs_own_train_script_runs_our_config(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config alone brings the plug-in: its custom_imports."""
    with_mmsegs_script(config("linear_frozen"), tmp_path, monkeypatch)
    assert "decode_head.conv_seg.weight" in weights_of(tmp_path / "w", 2)


def test_mmsegs_own_train_script_refuses_bad_data_before_the_first_step(
    config: Make, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There only the hook in our configs looks at it; the test above is the control."""
    folder = Path(shutil.copytree(drawn, tmp_path / "copied"))
    mask = next((folder / "annotations" / "training").iterdir())
    Image.fromarray(np.full((56, 70), 77, np.uint8)).save(mask)
    made = config("linear_frozen")
    made.train_dataloader.dataset.data_root = str(folder)
    with pytest.raises(BadRun, match="1 of 8 masks looked at are wrong: .* holds 77, expected 0 to 8 or 255"):
        with_mmsegs_script(made, tmp_path, monkeypatch)
    assert not list((tmp_path / "w").glob("*.pth"))


def test_mixed_precision_without_an_accelerator_is_refused(config: Make) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(BadRun, match="--amp needs an accelerator"):
        runs.train(config("linear_frozen"), Options(amp=True))


def test_a_checkpoint_of_another_config_is_refused(config: Make, tmp_path: Path) -> None:
    folder = runs.train(config("linear_frozen"))
    with pytest.raises(BadRun, match="does not fit the config's model"):
        runs.test(config("upernet_full"), folder / "iter_2.pth")


def test_all_names_of_shipped_configs_load() -> None:
    names = shipped_configs()
    assert len(names) == 29
    assert all(load_config(name).model.backbone.type == "InternViT" for name in names)
