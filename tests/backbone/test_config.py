"""ViTConfig: what it accepts, what it refuses, hub json there and back."""

from dataclasses import replace
from typing import Any

import pytest
from polylens.backbone import ViTConfig
from polylens.backbone.sizes import INTERNVIT_300M_448PX
from polylens.errors import InvalidInput

GOOD = INTERNVIT_300M_448PX


def test_hub_json_there_and_back() -> None:
    assert ViTConfig.from_dict(GOOD.to_dict()) == GOOD
    assert GOOD.to_dict()["model_type"] == "intern_vit_6b"


def test_older_hub_json_without_norm_type() -> None:
    # The 6B files on the hub have no such key.
    data = GOOD.to_dict()
    del data["norm_type"]
    assert ViTConfig.from_dict(data).norm_type == "rms_norm"


@pytest.mark.parametrize(("forced", "size"), [(None, 448), (364, 364)])
def test_full_internvl_json(forced: int | None, size: int) -> None:
    data = {"model_type": "internvl", "force_image_size": forced, "vision_config": GOOD.to_dict()}
    assert ViTConfig.from_dict(data) == replace(GOOD, image_size=size)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 0),
        ("hidden_size", 1000.0),
        ("num_hidden_layers", True),
        ("num_attention_heads", 7),
        ("image_size", 449),
        ("norm_type", "batch_norm"),
        ("drop_path_rate", 1.0),
    ],
)
def test_refuses_impossible_sizes(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=field if field != "num_attention_heads" else "heads"):
        ViTConfig.from_dict({**GOOD.to_dict(), field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("hidden_act", "gelu_new"), ("num_channels", 4), ("dropout", 0.1)]
)
def test_refuses_other_networks(field: str, value: Any) -> None:
    assert ViTConfig.from_dict(GOOD.to_dict())
    with pytest.raises(InvalidInput, match=field):
        ViTConfig.from_dict({**GOOD.to_dict(), field: value})


def test_names_every_missing_key() -> None:
    data = GOOD.to_dict()
    del data["hidden_size"], data["patch_size"]
    with pytest.raises(InvalidInput, match="hidden_size, patch_size"):
        ViTConfig.from_dict(data)
