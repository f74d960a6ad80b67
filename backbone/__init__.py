"""InternViT, the vision backbone of InternVL: network, checkpoints, pixels."""

from .config import ViTConfig
from .vit import InternViT

__all__ = ["InternViT", "ViTConfig"]
