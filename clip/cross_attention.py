"""Cross-attention from QLLaMA's query positions to the image tokens.

Shapes: B batch, Q queries, N image tokens, D text width, V vision width, H heads, K channels per head.
"""

from einops import rearrange
from torch import Tensor, nn

from ..backbone.attention import attention
from ..backbone.layers import RMSNorm


class CrossAttention(nn.Module):
    """Pre-normed multi-head attention with LLaMA's bias-free projections and no positions."""

    def __init__(self, width: int, vision_width: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = RMSNorm(width, eps)
        self.norm2 = RMSNorm(vision_width, eps)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(vision_width, width, bias=False)
        self.v_proj = nn.Linear(vision_width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, queries_BQD: Tensor, image_BNV: Tensor) -> Tensor:
        """What the queries read from the image, (B, Q, D), without the residual."""
        image_BNV = self.norm2(image_BNV)
        q, k, v = (
            rearrange(x, "B L (H K) -> B H L K", H=self.num_heads)
            for x in (self.q_proj(self.norm1(queries_BQD)), self.k_proj(image_BNV), self.v_proj(image_BNV))
        )
        out_BQD: Tensor = self.o_proj(rearrange(attention(q, k, v), "B H Q K -> B Q (H K)"))
        return out_BQD
