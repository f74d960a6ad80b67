"""InternVL-C and InternVL-G, and the Encoder that turns lists of images and texts into unit vectors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["Encoder", "InternVLC", "InternVLG", "Tokenizer", "load"]

if TYPE_CHECKING:
    from .encoder import Encoder
    from .internvl_c import InternVLC
    from .internvl_g import InternVLG
    from .load import load
    from .tokenizer import Tokenizer

HOMES = {
    "Encoder": ".encoder",
    "InternVLC": ".internvl_c",
    "InternVLG": ".internvl_g",
    "Tokenizer": ".tokenizer",
    "load": ".load",
}


def __getattr__(name: str) -> Any:
    # Lazy: whoever needs only the tokenizer must not wait for torch.
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES[name], __name__), name)
