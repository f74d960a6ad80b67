"""Attention pooling: one vector out of many tokens (the hub's `clip_projector` and `clip_projector2`).

Shapes: B batch, N tokens, D width, E embedding width, H heads, K channels per head.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbone.attention import attention

# The original fixes this epsilon in code, whatever the towers use.
NORM_EPS = 1e-5


class PoolAttention(nn.Module):
    """Multi-head attention whose three input biases live beside bias-free weights, as the hub names them."""

    def __init__(self, dim: int, out_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.k_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, out_dim)

    def forward(self, q_BQD: Tensor, k_BND: Tensor, v_BND: Tensor) -> Tensor:
        """Attended values projected to the embedding width, (B, Q, E)."""
        q, k, v = (
            rearrange(F.linear(x, layer.weight, bias), "B L (H K) -> B H L K", H=self.num_heads)
            for x, layer, bias in (
                (q_BQD, self.q, self.q_bias),
                (k_BND, self.k, self.k_bias),
                (v_BND, self.v, self.v_bias),
            )
        )
        return self.proj(rearrange(attention(q, k, v), "B H Q K -> B Q (H K)"))  # type: ignore[no-any-return]


class AttentionPool(nn.Module):
    """Attention over all tokens with their mean as the only query."""

    def __init__(self, dim: int, out_dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1_q = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm1_k = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm1_v = nn.LayerNorm(dim, eps=NORM_EPS)
        self.cross_attn = PoolAttention(dim, out_dim, num_heads)

    def init_weights(self) -> None:
        """Fresh weights in place: linear maps normal with 0.02, biases 0, norms 1 (timm's attention pooling)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        for bias in (self.cross_attn.q_bias, self.cross_attn.k_bias, self.cross_attn.v_bias):
            nn.init.zeros_(bias)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """The pooled vector, (B, E), not normalised."""
        query_B1D = tokens_BND.mean(dim=1, keepdim=True)
        pooled_B1E = self.cross_attn(self.norm1_q(query_B1D), self.norm1_k(tokens_BND), self.norm1_v(tokens_BND))
        return pooled_B1E.squeeze(1)  # type: ignore[no-any-return]
