"""Windows in batches give what mmseg gives with one window at a time."""

from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from polylens.segmentation import SlidingEncoderDecoder


def build(kind: str, size: Any, **test_cfg: Any) -> EncoderDecoder:
    torch.manual_seed(0)
    return MODELS.build(
        {
            "type": f"mmseg.{kind}",
            "backbone": {"type": "InternViT", "size": size, "taps": [1]},
            "decode_head": {
                "type": "BNLinearHead",
                "in_channels": 64,
                "num_classes": 5,
                "dropout_ratio": 0.0,
            },
            "test_cfg": ConfigDict(mode="slide", crop_size=(56, 56), stride=(28, 42), **test_cfg),
        }
    ).eval()


@pytest.mark.parametrize("shape", [(1, 3, 98, 126), (2, 3, 56, 70), (1, 3, 42, 84), (1, 3, 28, 28)])
@pytest.mark.parametrize("windows", [1, 4, 100])
@torch.no_grad()
def test_equal_to_mmsegs_loop(size: Any, shape: tuple[int, ...], windows: int) -> None:
    pixels = torch.randn(shape)
    want = build("EncoderDecoder", size).slide_inference(pixels, [{} for _ in range(shape[0])])
    ours = build("SlidingEncoderDecoder", size, windows=windows)
    got = ours.slide_inference(pixels, [{} for _ in range(shape[0])])
    assert got.shape == want.shape == (shape[0], 5, *shape[2:])
    assert torch.allclose(got, want, atol=1e-4)


@torch.no_grad()
def test_windows_go_through_together(size: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, batches = build("SlidingEncoderDecoder", size, windows=4), []
    inner = SlidingEncoderDecoder.encode_decode

    def counting(self: Any, windows: torch.Tensor, metas: Any) -> torch.Tensor:
        batches.append(len(windows))
        return inner(self, windows, metas)

    monkeypatch.setattr(SlidingEncoderDecoder, "encode_decode", counting)
    ours.slide_inference(torch.randn(1, 3, 98, 126), [{}])
    assert batches == [4, 4, 1]
