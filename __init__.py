"""polylens: search images by text in any language, on one strong vision backbone."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Encoder", "__version__", "load"]

if TYPE_CHECKING:
    from .clip.encoder import Encoder
    from .clip.load import load


def __getattr__(name: str) -> Any:
    # Lazy: `import polylens` and `polylens --help` must not pay for importing torch.
    if name == "load":
        from .clip.load import load

        return load
    if name == "Encoder":
        from .clip.encoder import Encoder

        return Encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
