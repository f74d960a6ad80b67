"""The published sizes, counted on the meta device."""

import pytest
import torch
from polylens.backbone import SIZES, InternViT


# "Params (M)" of the model cards; that of V1-5 is rounded to tens.
@pytest.mark.parametrize(
    ("name", "millions", "rounding"),
    [
        ("OpenGVLab/InternViT-6B-224px", 5903, 1),
        ("OpenGVLab/InternViT-6B-448px-V1-5", 5540, 5),
        ("OpenGVLab/InternViT-300M-448px", 304, 1),
    ],
)
def test_parameters(name: str, millions: int, rounding: int) -> None:
    with torch.device("meta"):
        vit = InternViT(SIZES[name])
    count = sum(parameter.numel() for parameter in vit.parameters())
    assert all(parameter.is_meta for parameter in vit.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=rounding)


def test_every_published_size_is_listed() -> None:
    depths = {
        name.removeprefix("OpenGVLab/InternViT-"): size.num_hidden_layers for name, size in SIZES.items()
    }
    assert depths == {
        "6B-224px": 48,
        "6B-448px-V1-0": 48,
        "6B-448px-V1-2": 45,
        "6B-448px-V1-5": 45,
        "6B-448px-V2_5": 45,
        "300M-448px": 24,
        "300M-448px-V2_5": 24,
    }
    assert all(f"{size.image_size}px" in name for name, size in SIZES.items())
