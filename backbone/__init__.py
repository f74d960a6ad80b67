"""InternViT, the vision backbone of InternVL: network, published sizes, checkpoints, pixels."""

from .config import ViTConfig
from .errors import BadCheckpoint
from .pixels import Preprocess
from .sizes import SIZES
from .vit import InternViT

__all__ = ["SIZES", "BadCheckpoint", "InternViT", "Preprocess", "ViTConfig"]
