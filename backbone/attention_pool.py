"""Attention pooling: one vector out of many tokens (the hub's `clip_projector` and `clip_projector2`).

Shapes: B batch, N tokens, Q queries, D width, E embedding width, H heads, K channels per head.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import attention

# The original fixes this epsilon in code, whatever the towers use.
NORM_EPS = 1e-5


class PoolAttention(nn.Module):
    """Multi-head attention whose three input biases live beside bias-free weights, as the hub names them."""

    def __init__(self, width: int, out_width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.k_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, out_width)

    def forward(self, q_BQD: Tensor, k_BND: Tensor, v_BND: Tensor) -> Tensor:
        """Attended values projected to the embedding width, (B, Q, E)."""
        q, k, v = (
            rearrange(F.linear(x, weight, bias), "B L (H K) -> B H L K", H=self.num_heads)
            for x, weight, bias in (
                (q_BQD, self.q.weight, self.q_bias),
                (k_BND, self.k.weight, self.k_bias),
                (v_BND, self.v.weight, self.v_bias),
            )
        )
        out_BQE: Tensor = self.proj(rearrange(attention(q, k, v), "B H Q K -> B Q (H K)"))
        return out_BQE


class AttentionPool(nn.Module):
    """Attention over all tokens with their mean as the only query."""

    def __init__(self, width: int, out_width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1_q = nn.LayerNorm(width, eps=NORM_EPS)
        self.norm1_k = nn.LayerNorm(width, eps=NORM_EPS)
        self.norm1_v = nn.LayerNorm(width, eps=NORM_EPS)
        self.cross_attn = PoolAttention(width, out_width, num_heads)

    def init_weights(self) -> None:
        """Fresh weights in place: linear maps normal with 0.02 (as ViT's), biases 0, norms 1."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        attn = self.cross_attn
        for bias in (attn.q_bias, attn.k_bias, attn.v_bias, attn.proj.bias):
            nn.init.zeros_(bias)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """The pooled vector, (B, E), not normalised."""
        tokens_BND = tokens_BND.to(self.norm1_q.weight.device)
        query_B1D = tokens_BND.mean(dim=1, keepdim=True)
        keys_BND, values_BND = self.norm1_k(tokens_BND), self.norm1_v(tokens_BND)
        pooled_B1E: Tensor = self.cross_attn(self.norm1_q(query_B1D), keys_BND, values_BND)
        return pooled_B1E.squeeze(1)
