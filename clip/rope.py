"""Rotary position embeddings (Su et al. 2021, RoFormer, eq. 34) in LLaMA's half-split layout.

Shapes: B batch, H heads, L positions, K channels per head.
"""

import torch
from torch import Tensor

Rotation = tuple[Tensor, Tensor]


def rotation(positions_BL: Tensor, channels: int, theta: float) -> Rotation:
    """Cosine and sine of every position's angles, float32, (B, 1, L, K) each; B may be 1."""
    exponents = torch.arange(0, channels, 2, device=positions_BL.device, dtype=torch.float32) / channels
    angles_BLk = positions_BL.float()[..., None] * theta**-exponents
    angles_B1LK = torch.cat((angles_BLk, angles_BLk), dim=-1)[:, None]
    return angles_B1LK.cos(), angles_B1LK.sin()


def rotate(x_BHLK: Tensor, turn: Rotation) -> Tensor:
    """x with each channel pair (i, i + K/2) turned by its position's angle; same shape and dtype."""
    cos_B1LK, sin_B1LK = (x.to(x_BHLK.dtype) for x in turn)
    first, second = x_BHLK.chunk(2, dim=-1)
    return x_BHLK * cos_B1LK + torch.cat((-second, first), dim=-1) * sin_B1LK
