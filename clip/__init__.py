"""InternVL-C and InternVL-G, and the Encoder that turns lists of images and texts into unit vectors."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["Encoder", "InternVLC", "InternVLG", "Tokenizer"]

if TYPE_CHECKING:
    from .encoder import Encoder
    from .internvl_c import InternVLC
    from .internvl_g import InternVLG
    from .tokenizer import Tokenizer

_HOMES = {
    "Encoder": ".encoder",
    "InternVLC": ".internvl_c",
    "InternVLG": ".internvl_g",
    "Tokenizer": ".tokenizer",
}


def __getattr__(name: str) -> Any:
    # Lazy: whoever needs one part must not wait for the others. `load` is not here, because the module
    # polylens.clip.load has that name; the function is `polylens.load`.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
