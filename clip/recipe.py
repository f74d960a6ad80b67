"""Pictures made ready in a process that has no model: neither this module nor what it imports needs torch."""

import json
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..backbone.images import open_image
from ..backbone.pixels import Preprocess, on_white, upright

DECODE_ONLY = ""  # the recipe of models whose own code has to do the rest


def written(preprocess: Preprocess) -> str:
    """The preprocessing as a text."""
    return json.dumps(asdict(preprocess))


def read(recipe: str) -> Preprocess:
    """The preprocessing that was written."""
    fields = json.loads(recipe)
    return Preprocess(fields["mode"], fields["size"], tuple(fields["mean"]), tuple(fields["std"]))


def prepared(recipe: str, image: bytes) -> npt.NDArray[np.float32] | Image.Image:
    """pixels_CHW, or of a recipe that only decodes the picture, upright and without transparency."""
    opened = open_image(image)
    return on_white(upright(opened)) if recipe == DECODE_ONLY else read(recipe)(opened)
