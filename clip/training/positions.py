"""Where a model that starts from random weights is told that its tokens lie on a plane."""

import math

import torch
from torch import Tensor

from ...backbone.vit import InternViT


@torch.no_grad()
def place_positions(vit: InternViT) -> None:
    """Sets the position embeddings to sines and cosines of row and column, in place.

    Drawn at random they are drowned by the patches, and the model must first find out what lies beside what;
    fixed waves of full strength tell it (Beyer et al., "Better plain ViT baselines for ImageNet-1k", 2022).
    """
    embedding = vit.embeddings.position_embedding
    embedding.zero_()
    embedding[0, 1:] = waves(vit.config.grid, embedding.shape[2])


def waves(grid: int, width: int) -> Tensor:
    """(grid * grid, width) float32 in [-1, 1]: sine and cosine of x and of y, width / 4 frequencies."""
    quarter = width // 4
    frequencies = math.pi / grid * torch.logspace(math.log2(2 * grid), 0, quarter, base=2.0) / 2
    y, x = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in (x, y)]
    table = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
    return torch.nn.functional.pad(table, (0, width - table.shape[1]))
