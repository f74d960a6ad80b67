"""Pictures made ready in a process that has no model: neither this module nor what it imports needs torch."""

import json
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..backbone.images import open_image
from ..backbone.pixels import Preprocess
from .open_clip_pixels import OpenClipPixels
from .seen import seen

# The recipes of models whose own code has to do the rest.
__all__ = ["DECODE_ONLY", "Preprocess", "prepared", "read", "written"]

DECODE_ONLY = ""  # the picture upright and without transparency
AS_STORED = "as stored"  # in RGB, and no more than that

Pixels: TypeAlias = Preprocess | OpenClipPixels
FAMILIES: dict[str, type[Preprocess] | type[OpenClipPixels]] = {
    "internvl": Preprocess,
    "open_clip": OpenClipPixels,
}


def decoding(preprocess: str) -> str:
    """The recipe that only decodes, for a model with that choice of pictures."""
    return DECODE_ONLY if preprocess == "service" else AS_STORED


def written(pixels: Pixels) -> str:
    """The preprocessing as a text."""
    family = next(name for name, cls in FAMILIES.items() if isinstance(pixels, cls))
    return json.dumps({"family": family} | asdict(pixels))


def read(recipe: str) -> Pixels:
    """The preprocessing that was written."""
    stored = json.loads(recipe)
    family = FAMILIES[stored.pop("family")]
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
    return family(**fields)


def prepared(recipe: str, image: bytes) -> npt.NDArray[np.float32] | Image.Image:
    """pixels_CHW, or of a recipe that only decodes the picture as the model's own code wants it."""
    if recipe in (DECODE_ONLY, AS_STORED):
        return seen(open_image(image), "service" if recipe == DECODE_ONLY else "as stored")
    pixels = read(recipe)
    return pixels(open_image(image, draft=pixels.draft_size))
