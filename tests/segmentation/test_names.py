"""Checkpoints of the original and of compiled mmcv load here, and ours there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from polylens.segmentation import BNLinearHead, InternViTBackbone, to_original
from polylens.segmentation.checks import check_checkpoint
from polylens.segmentation.errors import BadRun
from torch import nn

State = Callable[[str], dict[str, torch.Tensor]]


class Segmentor(nn.Module):
    def __init__(self, size: Any, weights: str | None = None, image_size: int = 84) -> None:
        super().__init__()
        self.backbone = InternViTBackbone(
            size, pretrained=weights, image_size=image_size, taps=[0, 1, 2, 3], pyramid=True, final_norm=True
        )
        self.backbone.init_weights()
        self.decode_head = BNLinearHead(64, num_classes=7, dropout_ratio=0.0)


@pytest.fixture
def original(weights: str, golden_state: State) -> dict[str, torch.Tensor]:
    """A checkpoint as the original's training writes it: its names, everything in one dict."""
    vit = torch.load(weights, weights_only=True)["module"]
    state = {f"backbone.{name}": t for name, t in vit.items() if not name.startswith("clip_projector")}
    return {**state, **golden_state("fpn_up_weights"), **golden_state("fcn_head")}


def test_the_originals_checkpoint_loads_whole(
    original: dict[str, torch.Tensor], size: Any, golden: dict[str, torch.Tensor]
) -> None:
    segmentor = Segmentor(size).eval()
    check_checkpoint(segmentor, original, "the original's")
    load_state_dict(segmentor, dict(original), strict=False)
    with torch.no_grad():
        maps = segmentor.backbone(golden["pixel_values"][:1])
    # The positions, stored for 56 pixels, were resized on the way.
    assert all(
        torch.allclose(level, golden[f"fpn_norm_float32_{i}"], atol=2e-5, rtol=1e-4)
        for i, level in enumerate(maps)
    )


def test_there_and_back(original: dict[str, torch.Tensor], size: Any) -> None:
    segmentor = Segmentor(size, image_size=56)
    load_state_dict(segmentor, dict(original), strict=True)
    again = to_original(segmentor.state_dict())
    assert again.keys() == original.keys()
    assert all(torch.equal(again[name], original[name]) for name in original)


def test_control_a_checkpoint_that_lacks_a_name_is_refused(
    original: dict[str, torch.Tensor], size: Any
) -> None:
    original["backbone.blocks.9.norm1.weight"] = original.pop("backbone.blocks.0.norm1.weight")
    original["decode_head.conv_seg.weight"] = torch.zeros(9, 64, 1, 1)
    with pytest.raises(BadRun) as raised:
        check_checkpoint(Segmentor(size), original, "this file")
    message = str(raised.value)
    assert message.startswith("this file does not fit the config's model:")
    assert "missing (1): backbone.vit.encoder.layers.0.norm1.weight" in message
    assert "unexpected (1): backbone.vit.encoder.layers.9.norm1.weight" in message
    assert "decode_head.conv_seg.weight is (9, 64, 1, 1), expected (7, 64, 1, 1)" in message


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of one, which mmcv's own SyncBN asks for."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def upernet(norm: str) -> nn.Module:
    settings = {"in_channels": [8, 8], "in_index": [0, 1], "channels": 8, "num_classes": 3}
    return MODELS.build(
        {"type": "mmseg.UPerHead", "pool_scales": (1, 2), "norm_cfg": {"type": norm}, **settings}
    )


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    ("theirs", "ours"), [("MMSyncBN", "SyncBN"), ("SyncBN", "MMSyncBN"), ("BN", "SyncBN")]
)
def test_batchnorm_of_compiled_mmcv_loads_without_it_and_back(theirs: str, ours: str) -> None:
    there, here = upernet(theirs), upernet(ours)
    for buffer in there.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2)
    check_checkpoint(here, {k: v for k, v in there.state_dict().items() if "num_batches" not in k}, "theirs")
    load_state_dict(here, there.state_dict(), strict=False)
    mine, other = here.state_dict(), there.state_dict()
    shared = [name for name in other if "num_batches_tracked" not in name]
    assert set(mine) - set(shared) <= {name for name in mine if "num_batches_tracked" in name}
    assert all(torch.equal(mine[name], other[name]) for name in shared)
