"""Rotary position embeddings (Su et al. 2021, RoFormer, eq. 34) in LLaMA's half-split layout.

Shapes: B batch, H heads, L positions, K channels per head.
"""

import torch
from torch import Tensor


def rotation(positions_BL: Tensor, channels: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, two float32 tensors (B, 1, L, K); B may be 1."""
    exponents = torch.arange(0, channels, 2, device=positions_BL.device, dtype=torch.float32) / channels
    angles_BLk = positions_BL.float()[..., None] * theta**-exponents
    angles_B1LK = torch.cat((angles_BLk, angles_BLk), dim=-1)[:, None]
    return angles_B1LK.cos(), angles_B1LK.sin()


def rotate(x_BHLK: Tensor, cos_B1LK: Tensor, sin_B1LK: Tensor) -> Tensor:
    """x with each channel pair (i, i + K/2) turned by its position's angle; same shape and dtype."""
    first, second = x_BHLK.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return x_BHLK * cos_B1LK.to(x_BHLK.dtype) + turned * sin_B1LK.to(x_BHLK.dtype)
