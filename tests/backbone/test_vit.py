"""InternViT against the original's numbers, and its behaviour while training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from polylens.backbone import InternViT, ViTConfig
from polylens.backbone.layers import Layer, RMSNorm
from polylens.errors import InvalidInput
from torch import nn

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = ("vit_6b_tiny", "vit_300m_tiny")
Arrays = dict[str, Any]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def load(family: str, **options: Any) -> InternViT:
    return InternViT.from_pretrained(GOLDEN / family / "checkpoint", device="cpu", **options)


def arrays(family: str) -> tuple[dict[str, torch.Tensor], Arrays]:
    with np.load(GOLDEN / family / "inputs.npz", allow_pickle=False) as file:
        inputs = {name: torch.from_numpy(file[name]) for name in file}
    with np.load(GOLDEN / family / "expected.npz", allow_pickle=False) as file:
        return inputs, {name: file[name] for name in file}


def close(got: torch.Tensor, expected: Any) -> bool:
    return np.allclose(got.detach().numpy(), expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_hidden_states(family: str) -> None:
    inputs, expected = arrays(family)
    vit = load(family)
    states = vit.hidden_states(inputs["native_pixel_values"])
    assert len(states) == vit.config.num_hidden_layers + 1
    for index, state in enumerate(states):
        assert close(state, expected[f"native_hidden_states_{index}"]), index
    assert torch.equal(vit(inputs["native_pixel_values"]), states[-1])
    assert not close(states[-2], expected["native_last_hidden_state"])


@torch.no_grad()
@pytest.mark.parametrize("shape", ["big", "rect"])
def test_other_image_sizes(family: str, shape: str) -> None:
    inputs, expected = arrays(family)
    states = load(family).hidden_states(inputs[f"{shape}_pixel_values"])
    assert close(states[0], expected[f"{shape}_hidden_states_0"])
    assert close(states[-1], expected[f"{shape}_last_hidden_state"])


@torch.no_grad()
def test_resized_for_good(family: str) -> None:
    inputs, expected = arrays(family)
    vit = load(family, image_size=84)
    assert vit.config.image_size == 84
    positions = vit.embeddings.position_embedding.numpy()
    np.testing.assert_allclose(positions, expected["resized_position_embedding"], atol=1e-5, rtol=0)
    assert close(vit(inputs["big_pixel_values"]), expected["resized_big_last_hidden_state"])


@torch.no_grad()
def test_epsilon(family: str) -> None:
    inputs, expected = arrays(family)
    vit = load(family)
    wanted = expected["small_pixel_embeds_last_hidden_state"]
    assert close(vit.encoder(inputs["small_pixel_embeds"]), wanted)
    for module in vit.modules():
        if isinstance(module, RMSNorm | nn.LayerNorm):
            module.eps = 1e-5
    assert not close(vit.encoder(inputs["small_pixel_embeds"]), wanted)


@torch.no_grad()
def test_bfloat16_stays_near(family: str) -> None:
    inputs, expected = arrays(family)
    tokens = load(family, dtype="bfloat16")(inputs["native_pixel_values"])
    assert tokens.dtype == torch.bfloat16
    wanted = expected["native_last_hidden_state"]
    assert np.abs(tokens.float().numpy() - wanted).max() / np.abs(wanted).max() < 3e-2


def test_gradient_checkpointing_changes_no_gradient(family: str) -> None:
    pixels = arrays(family)[0]["native_pixel_values"]
    gradients = []
    for checkpointing in (False, True):
        vit = load(family).train()
        vit.gradient_checkpointing = checkpointing
        vit(pixels).square().sum().backward()
        gradients.append([parameter.grad for parameter in vit.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_gradient_checkpointing_keeps_less(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    forward = Layer.forward
    monkeypatch.setattr(Layer, "forward", lambda self, x: (runs.append(1), forward(self, x))[1])
    vit = load("vit_6b_tiny").train()
    pixels = torch.zeros(1, 3, 56, 56)
    vit(pixels).sum().backward()
    assert len(runs) == 4
    vit.gradient_checkpointing = True
    vit(pixels).sum().backward()
    # Each layer runs once more on the way back: that is what is not kept.
    assert len(runs) == 4 + 8


def test_patch_keep_while_training() -> None:
    torch.manual_seed(0)
    vit = load("vit_6b_tiny")
    pixels = torch.randn(2, 3, 56, 56)
    assert vit(pixels, patch_keep=0.5).shape == (2, 17, 64)
    vit.train()
    assert vit(pixels, patch_keep=0.5).shape == (2, 9, 64)
    assert vit(pixels, patch_keep=0.01).shape == (2, 2, 64)
    full = vit.embeddings(pixels)
    kept = vit.embeddings(pixels, 0.5)
    assert torch.equal(kept[:, 0], full[:, 0])
    for sample in range(2):
        # Every kept token is one of the full ones, with its own position, and in their order.
        where = [int((full[sample] == token).all(-1).nonzero()) for token in kept[sample]]
        assert where == sorted(set(where))
    assert not torch.equal(kept[0], vit.embeddings(pixels, 0.5)[0])
    for wrong in (0.0, 1.5):
        with pytest.raises(InvalidInput, match="patch_keep"):
            vit(pixels, patch_keep=wrong)


def test_drop_path_grows_linearly() -> None:
    config = replace(load("vit_6b_tiny").config, drop_path_rate=0.3)
    rates = [layer.drop_path for layer in InternViT(config).encoder.layers]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_trains_from_scratch_in_mixed_precision() -> None:
    torch.manual_seed(0)
    config: ViTConfig = replace(load("vit_6b_tiny").config, initializer_range=0.02, drop_path_rate=0.1)
    vit = InternViT(config)
    optimizer = torch.optim.AdamW(vit.parameters(), 2e-3)
    pixels, wanted = torch.randn(2, 3, 56, 56), torch.randn(2, 64)
    losses = []
    for _ in range(15):
        with torch.autocast("cpu", torch.bfloat16):
            loss = (vit(pixels, patch_keep=0.5).mean(1) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in vit.parameters())
    assert losses[-1] < 0.8 * losses[0]


def test_first_weights() -> None:
    torch.manual_seed(0)
    vit = InternViT(replace(load("vit_300m_tiny").config, initializer_range=0.02))
    for name, parameter in vit.named_parameters():
        if "norm" in name:
            assert torch.equal(parameter, torch.full_like(parameter, float(name.endswith("weight"))))
        elif name.endswith("bias"):
            assert not parameter.any()
        elif name.endswith(("ls1", "ls2")):
            assert torch.equal(parameter, torch.full_like(parameter, vit.config.initializer_factor))
        else:
            assert 0.01 < parameter.std() < 0.03 and parameter.abs().max() <= 0.04


@pytest.mark.parametrize(
    "shape", [(3, 56, 56), (1, 1, 56, 56), (1, 3, 57, 56), (1, 3, 56, 50), (1, 3, 0, 56)]
)
def test_refuses_other_pixels(shape: tuple[int, ...]) -> None:
    vit = load("vit_6b_tiny")
    assert vit(torch.zeros(1, 3, 56, 42)).shape == (1, 13, 64)
    with pytest.raises(InvalidInput, match="pixels must be"):
        vit(torch.zeros(shape))
