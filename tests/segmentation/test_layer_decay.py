"""The optimiser's groups against the formula, parameter by parameter."""

from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from polylens.errors import InvalidInput


def segmentor(size: Any, **options: Any) -> torch.nn.Module:
    return MODELS.build(
        {
            "type": "mmseg.EncoderDecoder",
            "backbone": {"type": "InternViT", "size": size, "taps": [0, 1, 2, 3], "pyramid": True, **options},
            "decode_head": {"type": "BNLinearHead", "in_channels": 64, "num_classes": 5},
        }
    )


def optimiser(model: torch.nn.Module, **paramwise: Any) -> torch.optim.Optimizer:
    settings = {"type": "AdamW", "lr": 0.01, "weight_decay": 0.05}
    made: torch.optim.Optimizer = build_optim_wrapper(
        model, {"optimizer": settings, "constructor": "InternViTLayerDecay", "paramwise_cfg": paramwise}
    ).optimizer
    return made


def naive_depth(name: str) -> int:
    parts = name.split(".")
    if parts[:3] == ["backbone", "vit", "embeddings"]:
        return 0
    return int(parts[4]) + 1 if parts[:3] == ["backbone", "vit", "encoder"] else 5


def test_each_parameter_has_the_rate_of_its_depth(size: Any) -> None:
    model = segmentor(size)
    rates = {
        id(p): group for group in optimiser(model, layer_decay=0.5).param_groups for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        group = rates.pop(id(parameter))
        assert group["lr"] == pytest.approx(0.01 * 0.5 ** (5 - naive_depth(name))), name
        assert group["weight_decay"] == (0 if parameter.ndim == 1 else 0.05), name
    assert not rates


def test_frozen_parameters_are_in_no_group(size: Any) -> None:
    model = segmentor(size, frozen=True)
    trained = [p for group in optimiser(model, layer_decay=1.0).param_groups for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in model.parameters() if p.requires_grad}
    assert {group["lr"] for group in optimiser(model, layer_decay=0.5).param_groups} == {0.01}


@pytest.mark.parametrize(
    "paramwise", [{}, {"layer_decay": 0}, {"layer_decay": 2.0}, {"layer_decay": 0.9, "norm": 1}]
)
def test_wrong_settings_are_refused(size: Any, paramwise: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="paramwise_cfg must be dict"):
        optimiser(segmentor(size), **paramwise)


def test_another_backbone_is_refused(size: Any) -> None:
    model = segmentor(size)
    model.backbone = torch.nn.Linear(2, 2)
    with pytest.raises(InvalidInput, match="for a backbone InternViT, got Linear"):
        optimiser(model, layer_decay=0.9)
