"""open_clip's usual preprocessing without torch, so that processes that only decode can do it.

Letters of the shapes: C colours, H and W pixels.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..backbone.pixels import centre_square, normalise, to_rgb
from .seen import seen


@dataclass(frozen=True)
class OpenClipPixels:
    """PIL image to float32 pixels_CHW: shorter side resized, centre cut out, and only then made RGB.

    That order is open_clip's (transform.py, image_transform); pixels are equal to its own, bit for bit.
    """

    preprocess: str
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    draft: bool = False

    @property
    def draft_size(self) -> int | None:
        """How small a JPEG may be decoded; None for its full size."""
        return self.size if self.draft else None

    def __call__(self, image: Image.Image) -> npt.NDArray[np.float32]:
        cut = centre_square(seen(image, self.preprocess), self.size)
        return normalise(np.asarray(to_rgb(cut)), self.mean, self.std)

    @classmethod
    def of(cls, config: dict[str, Any], preprocess: str, draft: bool) -> Self | None:
        """The preprocessing of open_clip's description of it; None if that is an unusual one."""
        size = config["size"]
        height, width = size if isinstance(size, list | tuple) else (size, size)
        usual = {"mode": "RGB", "interpolation": "bicubic", "resize_mode": "shortest"}
        if height != width or any(config[name] != value for name, value in usual.items()):
            return None
        return cls(preprocess, int(height), tuple(config["mean"]), tuple(config["std"]), draft)
