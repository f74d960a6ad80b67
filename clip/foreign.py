"""What the adapters of other libraries share: which options they refuse, which picture the library gets."""

import torch
from PIL import Image

from ..backbone.device import Placement
from ..backbone.pixels import MODES, on_white, to_rgb, upright
from ..errors import InvalidInput


def check_options(family: str, *, head: str, preprocess: str, device: Placement) -> str | torch.device:
    """The one device; a model of another library has no heads and cannot be split over devices."""
    if head != "C":
        raise InvalidInput(f"{family} models have no head {head!r}: leave it out")
    if preprocess not in MODES:
        raise InvalidInput(f"preprocess must be one of {', '.join(MODES)}, got {preprocess!r}")
    if not isinstance(device, str | torch.device):
        raise InvalidInput(f"a model of {family} runs on one device, got a mapping")
    return device


def seen(image: Image.Image, preprocess: str) -> Image.Image:
    """The picture that the library's own transform starts from.

    "service" turns it upright and puts transparency on white, as everywhere in the service. The modes
    "retrieval" and "classification" are both the library's transform alone, of the picture in RGB as the
    loaders of data sets give it: as stored, transparency dropped.
    """
    return on_white(upright(image)) if preprocess == "service" else to_rgb(image)


def seen_spec(preprocess: str) -> str:
    """That choice in words, for a fingerprint."""
    return "upright, on white" if preprocess == "service" else "as stored, transparency dropped"
