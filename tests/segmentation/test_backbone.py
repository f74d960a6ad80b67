"""InternViT as mmseg's backbone: the original's features, and what a config can ask for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from polylens.errors import InvalidInput
from polylens.segmentation import InternViTBackbone

State = Callable[[str], dict[str, torch.Tensor]]
Golden = dict[str, torch.Tensor]


def build(size: Any, weights: str | None = None, **options: Any) -> InternViTBackbone:
    torch.manual_seed(0)
    backbone = InternViTBackbone(size, pretrained=weights, **options)
    backbone.init_weights()
    return backbone.eval()


def agree(got: torch.Tensor, expected: torch.Tensor, precision: str) -> bool:
    """The tolerances that the fixtures were measured to allow."""
    if precision == "float32":
        return torch.allclose(got, expected, atol=2e-5, rtol=1e-4)
    return bool((got - expected).abs().max() <= 3e-2 * expected.abs().max())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("frozen", [True, False])
@torch.no_grad()
def test_taps_equal_the_original(
    golden: Golden, size: Any, weights: str, precision: str, frozen: bool
) -> None:
    backbone = build(size, weights, image_size=84, taps=[1, 2], precision=precision, frozen=frozen)
    maps = backbone(golden["pixel_values"])
    assert [level.dtype for level in maps] == [torch.float32] * 2
    assert all(agree(level, golden[f"plain_{precision}_{i}"], precision) for i, level in enumerate(maps))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "final_norm"), [("fpn", False), ("fpn_norm", True)])
@torch.no_grad()
def test_pyramid_equals_the_original(
    golden: Golden, golden_state: State, size: Any, weights: str, precision: str, name: str, final_norm: bool
) -> None:
    options = {"taps": [0, 1, 2, 3], "pyramid": True, "final_norm": final_norm, "precision": precision}
    backbone = build(size, weights, image_size=84, frozen=True, **options)
    state = {key.removeprefix("backbone."): value for key, value in golden_state("fpn_up_weights").items()}
    unexpected = backbone.load_state_dict(state, strict=False).unexpected_keys
    # The file holds the final norms too, which the plain pyramid has not.
    assert len(unexpected) == (0 if final_norm else 8)
    maps = backbone(golden["pixel_values"][:1])
    assert [tuple(level.shape[2:]) for level in maps] == [(24, 24), (12, 12), (6, 6), (3, 3)]
    assert all(agree(level, golden[f"{name}_{precision}_{i}"], precision) for i, level in enumerate(maps))


@torch.no_grad()
def test_control_another_tap_is_noticed(golden: Golden, size: Any, weights: str) -> None:
    (level,) = build(size, weights, image_size=84, taps=[3])(golden["pixel_values"])
    assert not agree(level, golden["plain_float32_1"], "bfloat16")


def test_positions_are_resized_once_and_trained_so(golden: Golden, size: Any, weights: str) -> None:
    positions = build(size, weights, image_size=84).vit.embeddings.position_embedding
    assert torch.allclose(positions, golden["pos_embed_big"], atol=1e-5)
    assert positions.requires_grad


@torch.no_grad()
def test_any_whole_number_of_patches_will_do(size: Any, weights: str) -> None:
    backbone = build(size, weights, taps=[0, 1, 2, 3], pyramid=True)
    maps = backbone(torch.randn(1, 3, 56, 98))
    assert [tuple(level.shape[1:]) for level in maps] == [
        (64, 16, 28), (64, 8, 14), (64, 4, 7), (64, 2, 3)
    ]  # fmt: skip


def test_initialising_keeps_the_parameters_as_objects(size: Any, weights: str) -> None:
    backbone = InternViTBackbone(size, pretrained=weights, image_size=84)
    before = dict(backbone.named_parameters())
    fresh = before["vit.encoder.layers.0.attn.qkv.weight"].detach().clone()
    backbone.init_weights()
    after = dict(backbone.named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is before[name] for name in before)
    assert not torch.equal(fresh, after["vit.encoder.layers.0.attn.qkv.weight"])


def test_frozen_trains_nothing_but_the_pyramid(size: Any) -> None:
    backbone = build(size, taps=[0, 1, 2, 3], pyramid=True, frozen=True, precision="bfloat16", drop_path=0.5)
    backbone.train()
    assert not backbone.vit.training
    sum(level.sum() for level in backbone(torch.randn(1, 3, 56, 56))).backward()
    with_gradient = {name.split(".")[0] for name, p in backbone.named_parameters() if p.grad is not None}
    assert with_gradient == {"pyramid"}
    assert backbone.vit.encoder.layers[0].ls1.dtype == torch.bfloat16
    assert backbone.pyramid is not None
    assert next(backbone.pyramid.parameters()).dtype == torch.float32


def gradients(backbone: InternViTBackbone, pixels: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(1)
    backbone.train()
    (level,) = backbone(pixels)
    level.square().mean().backward()
    return [p.grad for p in backbone.parameters() if p.grad is not None]


def test_checkpointing_changes_no_gradient(size: Any) -> None:
    pixels = torch.randn(2, 3, 56, 56)
    plain = gradients(build(size, drop_path=0.3), pixels)
    saving = gradients(build(size, drop_path=0.3, checkpointing=True), pixels)
    assert len(plain) == len(saving) > 0
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, saving, strict=True))


def test_layers_above_the_last_tap_are_not_run(size: Any) -> None:
    backbone = build(size, taps=[1])
    (level,) = backbone(torch.randn(1, 3, 56, 56))
    level.sum().backward()
    reached = {
        name.split(".")[3]
        for name, p in backbone.named_parameters()
        if p.grad is not None and "layers" in name
    }
    assert reached == {"0", "1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "InternViT-7B"}, "size 'InternViT-7B' is none of mini, OpenGVLab/InternViT-6B-224px"),
        ({"size": None}, "needs a size"),
        ({"size": {"hidden_size": 64}}, "lacks num_hidden_layers"),
        ({"taps": [4]}, r"taps must be layers 0 to 3 of this backbone, got \[4\]"),
        ({"taps": []}, "taps must be"),
        ({"taps": [1, 2], "pyramid": True}, "the pyramid needs 4 taps"),
        ({"precision": "int8"}, "precision must be one of float32, bfloat16, got 'int8'"),
        ({"image_size": 60}, "not divisible"),
    ],
)
def test_wrong_options_are_refused(size: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        InternViTBackbone(**{"size": size, **options})
