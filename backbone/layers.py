"""The parts of an InternViT layer: norms, attention, MLP, drop path.

Letters of the shapes: B batch, N tokens, D width, H heads, K width of a head.
What runs in float32 whatever the weights are: the statistics of every norm, and the softmax inside attention.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attention
from .config import ViTConfig


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis, dtype of x; float32 statistics (Zhang and Sennrich, 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        # Mixed precision: float32 weights under autocast.
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


def make_norm(config: ViTConfig) -> nn.Module:
    """The norm this family uses, over the model's width."""
    if config.norm_type == "rms_norm":
        return RMSNorm(config.hidden_size, config.layer_norm_eps)
    return nn.LayerNorm(config.hidden_size, config.layer_norm_eps)


class Attention(nn.Module):
    """Self-attention with one projection for q, k and v; the 6B family norms q and k over all heads."""

    def __init__(self, config: ViTConfig, implementation: str) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.implementation = implementation
        self.qkv = nn.Linear(width, 3 * width, bias=config.qkv_bias)
        self.proj = nn.Linear(width, width)
        self.q_norm: nn.Module | None = None
        self.k_norm: nn.Module | None = None
        if config.qk_normalization:
            # RMSNorm even where the layers use LayerNorm: so the original builds them.
            self.q_norm = RMSNorm(width, config.layer_norm_eps)
            self.k_norm = RMSNorm(width, config.layer_norm_eps)

    def forward(self, x_BND: Tensor) -> Tensor:
        q, k, v = self.qkv(x_BND).chunk(3, dim=-1)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        # Views only: the SDPA kernels read strided heads and write their output token by token.
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        out_BHNK = attention(q, k, v, implementation=self.implementation)
        out_BND: Tensor = self.proj(out_BHNK.transpose(1, 2).flatten(2))
        return out_BND


class MLP(nn.Module):
    """Two linear maps with the exact (erf) GELU between them; a tanh GELU would move embeddings by 1e-4."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x_BND: Tensor) -> Tensor:
        out_BND: Tensor = self.fc2(F.gelu(self.fc1(x_BND)))
        return out_BND


class Layer(nn.Module):
    """One pre-norm block with layer scale: x + ls1 * attn(norm1(x)), then x + ls2 * mlp(norm2(x))."""

    def __init__(self, config: ViTConfig, drop_path: float, implementation: str) -> None:
        super().__init__()
        self.attn = Attention(config, implementation)
        self.mlp = MLP(config)
        self.norm1 = make_norm(config)
        self.norm2 = make_norm(config)
        self.ls1 = nn.Parameter(torch.empty(config.hidden_size))
        self.ls2 = nn.Parameter(torch.empty(config.hidden_size))
        self.drop_path = drop_path

    def forward(self, x_BND: Tensor) -> Tensor:
        # A layer placed on another device pulls its input there; a no-op otherwise.
        x_BND = x_BND.to(self.ls1.device)
        x_BND = self.add(x_BND, self.attn(self.norm1(x_BND)), self.ls1)
        return self.add(x_BND, self.mlp(self.norm2(x_BND)), self.ls2)

    def add(self, x_BND: Tensor, branch_BND: Tensor, scale_D: Tensor) -> Tensor:
        """x + scale * branch in one pass over memory; in training some samples skip the branch."""
        if self.training and self.drop_path:
            branch_BND = branch_BND * drop_path_mask(branch_BND, self.drop_path)
        return torch.addcmul(x_BND, branch_BND, scale_D)


def drop_path_mask(x_BND: Tensor, rate: float) -> Tensor:
    """0 for a dropped sample, 1 / (1 - rate) for a kept one, B11 (stochastic depth, Huang et al. 2016)."""
    return x_BND.new_empty(x_BND.shape[0], 1, 1).bernoulli_(1 - rate).div_(1 - rate)
