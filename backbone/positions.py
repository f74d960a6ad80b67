"""Learned position embeddings, resized to another grid of patches."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..errors import InvalidInput


def resize_positions(positions_1ND: Tensor, height: int, width: int) -> Tensor:
    """Positions for a grid of `height` x `width` patches, shape (1, 1 + height * width, D), dtype kept.

    The class position is kept, the patch positions are interpolated in float32 as the original does
    (bicubic, align_corners=False, no antialiasing). The stored grid is square.
    """
    side = math.isqrt(positions_1ND.shape[1] - 1)
    if side * side != positions_1ND.shape[1] - 1:
        raise InvalidInput(f"{positions_1ND.shape[1]} positions are not a class token and a square grid")
    if (height, width) == (side, side):
        return positions_1ND
    grid = rearrange(positions_1ND[:, 1:].float(), "1 (h w) d -> 1 d h w", h=side)
    grid = F.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)
    patches = rearrange(grid, "1 d h w -> 1 (h w) d").to(positions_1ND.dtype)
    return torch.cat([positions_1ND[:, :1], patches], dim=1)
