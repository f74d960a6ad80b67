"""What the adapters of other libraries share: which options they refuse."""

import torch

from ..backbone.device import Placement
from ..backbone.pixels import MODES
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
