"""Pictures to pixels, as InternVL was trained to see them.

Letters of the shapes: C colours, H and W pixels, S pixels per side.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import InvalidInput

# ImageNet's mean and deviation per colour, of pixels in 0..1 (every InternViT's preprocessor_config.json).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MODES = ("retrieval", "classification", "service")
DRAFT = "+draft"  # behind a mode: JPEGs are decoded no larger than needed
JPEG_DRAFT = "jpeg at 1/2, 1/4 or 1/8 where that is large enough"  # in a fingerprint

ORIENTATION_TAG = 0x0112
# EXIF 2.32, section 4.6.4: what undoes each stored orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Preprocess:
    """PIL image to float32 pixels_CHW, (3, size, size), normalised: about -2.2 to 2.7.

    - "retrieval" squeezes the whole picture into the square, as the original's retrieval evaluation does;
    - "classification" resizes the shorter side and cuts the centre, as its classification does;
    - "service" is "retrieval" of the picture as people see it: upright by its EXIF orientation, transparency
      on white. The two others ignore the orientation and drop the transparency, as the original does.

    With `draft` the caller opens JPEGs with `open_image(…, draft=draft_size)`: less work, other pixels.
    """

    mode: str
    size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    draft: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InvalidInput(f"mode of Preprocess must be one of {', '.join(MODES)}, got {self.mode!r}")
        if self.size < 1:
            raise InvalidInput(f"size of Preprocess must be at least 1, got {self.size}")

    def __call__(self, image: Image.Image) -> npt.NDArray[np.float32]:
        if self.mode == "service":
            image = on_white(upright(image))
        image = to_rgb(image)
        image = centre_square(image, self.size) if self.mode == "classification" else square(image, self.size)
        return normalise(np.asarray(image), self.mean, self.std)

    @property
    def draft_size(self) -> int | None:
        """How small a JPEG may be decoded; None for its full size."""
        return self.size if self.draft else None

    @property
    def spec(self) -> dict[str, Any]:
        """Every choice by name, for a fingerprint: two equal specs give equal pixels."""
        service = self.mode == "service"
        drafted = {"decode": JPEG_DRAFT} if self.draft else {}
        return drafted | {
            "orientation": "exif" if service else "as stored",
            "transparency": "on white" if service else "dropped",
            "resize": "shorter side, centre crop" if self.mode == "classification" else "square",
            "filter": "pillow bicubic",
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def mode_and_draft(preprocess: str) -> tuple[str, bool]:
    """The mode, and whether `+draft` stands behind it."""
    return preprocess.removesuffix(DRAFT), preprocess.endswith(DRAFT)


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says; unreadable EXIF says nothing."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def on_white(image: Image.Image) -> Image.Image:
    """The image as seen on white paper, without transparency."""
    if not image.has_transparency_data:
        return image
    pixels = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), pixels).convert("RGB")


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB; transparency is dropped, whatever colour lies under it."""
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        # The same colours as a direct conversion, which Pillow warns about.
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def square(image: Image.Image, size: int) -> Image.Image:
    """The whole image squeezed into (size, size)."""
    return image.resize((size, size), Image.Resampling.BICUBIC)


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """The centre of the image, its shorter side resized to `size`; rounding as in torchvision."""
    width, height = image.size
    shorter = min(width, height)
    # The longer side is cut off, the crop's corner rounded half to even.
    width, height = int(size * width / shorter), int(size * height / shorter)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + size, top + size))


def normalise(
    image_HWC: npt.NDArray[np.uint8], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """(pixels / 255 - mean) / std in float32, contiguous CHW: the order of operations of torchvision."""
    pixels_CHW = image_HWC.transpose(2, 0, 1).astype(np.float32, order="C")
    pixels_CHW /= np.float32(255)
    pixels_CHW -= np.asarray(mean, np.float32)[:, None, None]
    pixels_CHW /= np.asarray(std, np.float32)[:, None, None]
    return pixels_CHW
