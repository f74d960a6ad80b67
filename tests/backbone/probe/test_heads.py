"""The three heads against the numbers of the original, and the published format of their checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from polylens.backbone import InternViT, ViTConfig
from polylens.backbone.checkpoint import read_config
from polylens.backbone.errors import BadCheckpoint
from polylens.backbone.probe.frozen import Frozen, count_layers, freeze, tapped
from polylens.backbone.probe.heads import HEADS, Head, pooled
from polylens.backbone.probe.published import load_head, save_head
from polylens.errors import InvalidInput

GOLDEN = Path(__file__).parents[2] / "golden"
PTH = GOLDEN / "pth" / "intern_vit_tiny.pth"
PROBE = GOLDEN / "linear_probe"
SIZES = ViTConfig.from_dict(read_config(GOLDEN / "vit_6b_tiny" / "checkpoint"))


def frozen(kind: str, **options: Any) -> Frozen:
    vit = InternViT.from_pretrained(PTH, config=SIZES, device="cpu")
    return freeze(PTH, kind, (-1,), vit=vit, **options)


def head(kind: str) -> Head:
    return load_head(PROBE / f"head_{kind}.pth", kind=kind, num_heads=4)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    with np.load(PROBE / "expected.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    with np.load(PROBE / "inputs.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


def close(got: torch.Tensor, wanted: Any, atol: float, rtol: float = 0.0) -> bool:
    return np.allclose(got.detach().numpy(), wanted, atol=atol, rtol=rtol)


@torch.no_grad()
@pytest.mark.parametrize("kind", HEADS)
def test_logits_are_those_of_the_original(
    kind: str, inputs: dict[str, torch.Tensor], expected: dict[str, Any]
) -> None:
    own, features = head(kind), frozen(kind).features(inputs["pixel_values"])[:, 0]
    before = own.attn_pooling(features) if own.attn_pooling is not None else features
    assert close(before, expected[f"{kind}_features"], 2e-5, 1e-4)
    normal = expected[f"{kind}_after_bn"]
    assert close(own.norm(before), normal, 1e-5 * np.abs(normal).max())
    assert close(own(features), expected[f"{kind}_logits"], 3e-4)
    big = frozen(kind, image_size=84).features(inputs["big_pixel_values"])[:, 0]
    assert close(own(big), expected[f"{kind}_big_logits"], 3e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", HEADS)
def test_control_another_epsilon_is_seen(
    kind: str, inputs: dict[str, torch.Tensor], expected: dict[str, Any]
) -> None:
    own = head(kind)
    own.norm.eps = 1e-5
    logits = own(frozen(kind).features(inputs["pixel_values"])[:, 0])
    assert not close(logits, expected[f"{kind}_logits"], 3e-4)


@torch.no_grad()
def test_another_patch_size(inputs: dict[str, torch.Tensor], expected: dict[str, Any]) -> None:
    resized = frozen("cls_patch_concat", image_size=64, patch_size=16)
    embeddings = resized.vit.embeddings
    assert close(embeddings.patch_embedding.weight, expected["patch16_patch_embed_weight"], 1e-5)
    assert close(embeddings.position_embedding, expected["patch16_pos_embed"], 1e-5)
    logits = head("cls_patch_concat")(resized.features(inputs["patch16_pixel_values"])[:, 0])
    assert close(logits, expected["cls_patch_concat_patch16_logits"], 3e-4)


@pytest.mark.parametrize("kind", HEADS)
def test_published_checkpoints_come_back_bit_by_bit(kind: str, tmp_path: Path) -> None:
    save_head(head(kind), tmp_path / "head.pth")
    first = torch.load(PROBE / f"head_{kind}.pth", weights_only=True)["model"]
    second = torch.load(tmp_path / "head.pth", weights_only=True)["model"]
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_head_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    state = torch.load(PROBE / "head_cls_patch_concat.pth", weights_only=True)["model"]
    del state["norm.running_var"]
    torch.save({"model": state}, tmp_path / "head.pth")
    with pytest.raises(BadCheckpoint, match="missing .1.: norm.running_var"):
        load_head(tmp_path / "head.pth")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "head.pth")
    with pytest.raises(InvalidInput, match="this is no head"):
        load_head(tmp_path / "head.pth")


@torch.no_grad()
def test_tapped_layers_are_the_hidden_states() -> None:
    vit = InternViT.from_pretrained(PTH, config=SIZES, device="cpu")
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    states = vit.hidden_states(pixels)
    for number, tokens in zip((1, 3, 4), tapped(vit, pixels, (1, 3, 4)), strict=True):
        assert torch.equal(tokens, states[number])
    both = freeze(PTH, "cls_patch_concat", (-1, 2), vit=vit)
    assert both.layers == (2, 4) and both.shape == (2, 128)
    wanted = torch.cat([states[2][:, 0], states[2][:, 1:].mean(1)], 1)
    assert torch.equal(both.features(pixels)[:, 0], wanted)


def test_first_weights_follow_the_recipe_and_the_generator_alone() -> None:
    def fresh(kind: str) -> Head:
        torch.manual_seed(int(torch.randint(1000, (1,))))  # must not matter
        own = Head(kind, 64, 500, 4)
        own.init_weights(torch.Generator().manual_seed(3))
        return own

    for kind in HEADS:
        first, second = fresh(kind), fresh(kind)
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
        assert abs(float(first.head.weight.detach().std()) - 0.01) < 3e-4
        assert not first.head.bias.detach().any()


def test_wrong_requests_are_named() -> None:
    with pytest.raises(InvalidInput, match="head must be one of cls_patch_concat"):
        Head("linear", 64, 10)
    with pytest.raises(InvalidInput, match="3 heads do not divide the width 64"):
        Head("attention_pooling", 64, 10, 3)
    with pytest.raises(InvalidInput, match="expected 1 to 4"):
        count_layers((0,), 4)
    with pytest.raises(InvalidInput, match="expected 1 to 4"):
        count_layers((-5,), 4)
    with pytest.raises(InvalidInput, match="clip_projector"):
        pooled("clip_projector", torch.zeros(1, 5, 8))
    hub = GOLDEN / "vit_6b_tiny" / "checkpoint"
    with pytest.raises(InvalidInput, match=r"holds no clip_projector\.\*"):
        freeze(hub, "clip_projector", (-1,), device="cpu")
