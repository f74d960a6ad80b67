"""Pixels to the first tokens of an InternViT.

Letters of the shapes: B batch, C colours, H and W pixels, N tokens, D width.
"""

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from .config import ViTConfig
from .positions import resize_positions


class Embeddings(nn.Module):
    """Pixels to tokens: patches through one convolution, the class token first, positions added."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.patch_size = patch
        self.class_embedding = nn.Parameter(torch.empty(1, 1, width))
        self.patch_embedding = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.position_embedding = nn.Parameter(torch.empty(1, config.grid**2 + 1, width))

    def forward(self, pixels_BCHW: Tensor, patch_keep: float = 1.0) -> Tensor:
        """Tokens BND; `patch_keep` below 1 keeps a random share of each image's patches."""
        positions = resize_positions(self.position_embedding, *self.grid(pixels_BCHW))
        weight = self.patch_embedding.weight
        patches = self.patch_embedding(pixels_BCHW.to(weight.device, weight.dtype)).flatten(2).transpose(1, 2)
        patches = patches + positions[:, 1:]
        if patch_keep < 1:
            patches = keep_patches(patches, patch_keep)
        first = (self.class_embedding + positions[:, :1]).expand(patches.shape[0], -1, -1)
        return torch.cat([first, patches], dim=1)

    def grid(self, pixels_BCHW: Tensor) -> tuple[int, int]:
        """Rows and columns of patches, or `InvalidInput` where the pixels do not divide into them."""
        *_, height, width = shape = tuple(pixels_BCHW.shape)
        rows, columns = height // self.patch_size, width // self.patch_size
        whole = (rows * self.patch_size, columns * self.patch_size) == (height, width)
        if len(shape) != 4 or shape[1] != 3 or not whole or rows * columns == 0:
            raise InvalidInput(
                f"pixels must be (B, 3, H, W), H and W multiples of {self.patch_size}, got {shape}"
            )
        return rows, columns


def keep_patches(patches_BND: Tensor, share: float) -> Tensor:
    """A random `share` of each sample's patches, at least one, in their order (FLIP, Li et al. 2023)."""
    batch, count, width = patches_BND.shape
    kept = max(1, round(count * share))
    chosen = torch.rand(batch, count, device=patches_BND.device).topk(kept, dim=1).indices.sort(dim=1).values
    return patches_BND.gather(1, chosen[..., None].expand(-1, -1, width))
