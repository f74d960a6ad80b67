"""A checkpoint at work gives what mmseg's own inference gives, in a server's capabilities too."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from PIL import Image
from polylens.commands.serve import able
from polylens.segmentation.drawn import CLASSES
from polylens.segmentation.errors import BadRun
from polylens.segmentation.runs import model_without_weights
from polylens.segmentation.segmenter import Segmenter
from polylens.service.settings import Settings

Make = Callable[..., Config]


@pytest.fixture
def checkpoint(config: Make, tmp_path: Path) -> Path:
    """Untrained weights, as a training would leave them."""
    torch.manual_seed(0)
    model = model_without_weights(config("linear_frozen")).to_empty(device="cpu")
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_(std=0.3).abs_()
    meta = {"dataset_meta": {"classes": CLASSES, "palette": [[i, 2 * i, 9] for i in range(len(CLASSES))]}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, tmp_path / "untrained.pth")
    return tmp_path / "untrained.pth"


@pytest.fixture
def picture(drawn: Path) -> Image.Image:
    with Image.open(next((drawn / "images" / "validation").iterdir())) as opened:
        return opened.convert("RGB")


def test_equal_to_mmsegs_inference(config: Make, checkpoint: Path, picture: Image.Image) -> None:
    segmenter = Segmenter(config("linear_frozen"), checkpoint, device="cpu")
    found = segmenter.classes(segmenter.prepare(picture))
    made = config("linear_frozen")
    made.test_pipeline = made.test_dataloader.dataset.pipeline
    theirs = init_model(made, str(checkpoint), device="cpu")
    want = inference_model(theirs, np.asarray(picture)[:, :, ::-1].copy()).pred_sem_seg.data[0].numpy()
    assert np.array_equal(found, want)
    assert len(np.unique(found)) > 1


def test_map_and_shares(config: Make, checkpoint: Path, picture: Image.Image) -> None:
    segmenter = Segmenter(config("linear_frozen"), checkpoint, device="cpu")
    found, shares = segmenter.segment(segmenter.prepare(picture))
    assert (found.mode, found.size) == ("P", picture.size)
    assert sum(shares.values()) == pytest.approx(1)
    largest = segmenter.names.index(next(iter(shares)))
    assert np.bincount(np.asarray(found).ravel()).argmax() == largest
    assert found.getpalette()[3 * largest : 3 * largest + 3] == [largest, 2 * largest, 9]


def test_a_large_picture_is_looked_at_smaller(config: Make, checkpoint: Path, picture: Image.Image) -> None:
    segmenter = Segmenter(config("linear_frozen"), checkpoint, device="cpu", max_pixels=70 * 56)
    large = picture.resize((700, 560))
    prepared = segmenter.prepare(large)
    assert prepared.data["data_samples"].ori_shape == (56, 70)
    assert segmenter.classes(prepared).shape == (560, 700)


def test_a_server_is_given_one_for_each_device(
    config: Make, checkpoint: Path, picture: Image.Image, tmp_path: Path
) -> None:
    config("linear_frozen").dump(tmp_path / "mine.py")
    settings = Settings(segment=str(tmp_path / "mine.py"), segment_checkpoint=checkpoint, device="cpu,cpu")
    capabilities = able(settings, [])
    one, two = capabilities.segmenters
    assert capabilities.names == ("segment",)
    assert one.fingerprint == two.fingerprint and len(one.fingerprint) == 64
    assert np.array_equal(one.segment(one.prepare(picture))[0], two.segment(two.prepare(picture))[0])
    assert able(Settings(), []).names == ()


def test_a_checkpoint_of_another_config_is_refused(config: Make, checkpoint: Path) -> None:
    with pytest.raises(BadRun, match="does not fit the config's model"):
        Segmenter(config("upernet_full"), checkpoint)


def test_the_fingerprint_tells_weights_apart(config: Make, checkpoint: Path, tmp_path: Path) -> None:
    saved = torch.load(checkpoint, weights_only=True)
    saved["state_dict"]["decode_head.conv_seg.bias"] += 1
    torch.save(saved, tmp_path / "other.pth")
    one, same, other = (
        Segmenter(config("linear_frozen"), path, device="cpu").fingerprint
        for path in (checkpoint, checkpoint, tmp_path / "other.pth")
    )
    assert one == same != other
