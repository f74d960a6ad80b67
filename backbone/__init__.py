"""InternViT, the vision backbone of InternVL: network, published sizes, checkpoints, pixels."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["SIZES", "BadCheckpoint", "InternViT", "Preprocess", "ViTConfig"]

if TYPE_CHECKING:
    from .config import ViTConfig
    from .errors import BadCheckpoint
    from .pixels import Preprocess
    from .sizes import SIZES
    from .vit import InternViT

_HOMES = {
    "SIZES": ".sizes",
    "BadCheckpoint": ".errors",
    "InternViT": ".vit",
    "Preprocess": ".pixels",
    "ViTConfig": ".config",
}


def __getattr__(name: str) -> Any:
    # Lazy: a process that only decodes pictures must not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
