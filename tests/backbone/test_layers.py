"""The parts of a layer against naive twins."""

from dataclasses import replace

import pytest
import torch
from polylens.backbone import ViTConfig
from polylens.backbone.layers import Attention, Layer, RMSNorm, drop_path_mask
from polylens.backbone.sizes import INTERNVIT_6B_224PX

TINY = replace(
    INTERNVIT_6B_224PX,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=32,
    image_size=28,
    initializer_range=0.02,
)


def test_rms_norm() -> None:
    norm = RMSNorm(24, eps=1e-6)
    norm.weight.data.normal_()
    x = torch.randn(2, 5, 24)
    expected = x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected)


def test_rms_norm_statistics_are_float32() -> None:
    # Squares of 300 overflow float16; the norm of a constant is 1 all the same.
    norm = RMSNorm(24, eps=1e-6).half()
    x = torch.full((1, 24), 300.0, dtype=torch.float16)
    assert torch.isinf(x.square()).all()
    torch.testing.assert_close(norm(x), torch.ones(1, 24, dtype=torch.float16))


def test_rms_norm_in_mixed_precision() -> None:
    norm = RMSNorm(24, eps=1e-6)
    x = torch.randn(3, 24).bfloat16()
    assert norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(norm(x), norm(x.float()).bfloat16())


def test_q_and_k_are_normed_over_all_heads() -> None:
    attn = Attention(TINY, "sdpa")
    x = torch.randn(2, 5, 24)
    q, k, v = attn.qkv(x).chunk(3, dim=-1)

    def run(joint: bool) -> torch.Tensor:
        def normed(y: torch.Tensor) -> torch.Tensor:
            heads = y.view(2, 5, 3, 8)
            axes = (2, 3) if joint else (3,)
            return (heads * (heads.square().mean(axes, keepdim=True) + 1e-6).rsqrt()).transpose(1, 2)

        weights = (normed(q) @ normed(k).transpose(-1, -2) / 8**0.5).softmax(-1)
        return attn.proj((weights @ v.view(2, 5, 3, 8).transpose(1, 2)).transpose(1, 2).reshape(2, 5, 24))

    torch.testing.assert_close(attn(x), run(joint=True))
    assert not torch.allclose(attn(x), run(joint=False), atol=1e-3)


@pytest.mark.parametrize("config", [TINY, replace(TINY, norm_type="layer_norm", qkv_bias=True)])
def test_layer_adds_scaled_branches(config: ViTConfig) -> None:
    layer = Layer(config, drop_path=0.0, implementation="sdpa")
    layer.ls1.data.normal_()
    layer.ls2.data.normal_()
    x = torch.randn(2, 5, 24)
    y = x + layer.ls1 * layer.attn(layer.norm1(x))
    torch.testing.assert_close(layer(x), y + layer.ls2 * layer.mlp(layer.norm2(y)))


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    mask = drop_path_mask(torch.zeros(4000, 5, 24), 0.25)
    assert mask.shape == (4000, 1, 1)
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert mask.mean().item() == pytest.approx(1.0, abs=0.05)


def test_drop_path_only_while_training() -> None:
    torch.manual_seed(0)
    layer = Layer(TINY, drop_path=0.999, implementation="sdpa")
    layer.ls1.data.fill_(1.0)
    layer.ls2.data.fill_(1.0)
    x = torch.randn(2, 5, 24)
    assert torch.equal(layer.train()(x), x)
    assert not torch.equal(layer.eval()(x), x)
