"""The views of an image: the random crop of training and the centre of testing, as torchvision cuts them.

Letters of the shapes: C colours, H and W pixels.
"""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..pixels import IMAGENET_MEAN, IMAGENET_STD, Preprocess, normalise, square, to_rgb
from .config import ProbeConfig

Pixels = npt.NDArray[np.float32]
TRIES = 10


def centre_view(image: Image.Image, size: int) -> Pixels:
    """pixels_CHW float32: the shorter side resized to `size`, the centre cut out."""
    return Preprocess("classification", size)(image)


def train_view(image: Image.Image, size: int, config: ProbeConfig, random: np.random.Generator) -> Pixels:
    """pixels_CHW float32 of a random crop of random shape, resized bicubically, half of them mirrored.

    "Going Deeper with Convolutions", Szegedy et al. 2015, section 6.
    """
    image = to_rgb(image)
    left, top, width, height = random_box(image.size, config, random)
    view = square(image.crop((left, top, left + width, top + height)), size)
    if config.flip and random.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return normalise(np.asarray(view), IMAGENET_MEAN, IMAGENET_STD)


def random_box(
    size: tuple[int, int], config: ProbeConfig, random: np.random.Generator
) -> tuple[int, int, int, int]:
    """Left, top, width and height of a crop inside an image of `size` (width, height).

    Area and ratio are drawn up to ten times; an image that none fits gets the largest allowed centre.
    """
    full_width, full_height = size
    low, high = (math.log(ratio) for ratio in config.crop_ratio)
    for _ in range(TRIES):
        area = full_width * full_height * random.uniform(*config.crop_scale)
        ratio = math.exp(random.uniform(low, high))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= full_width and 0 < height <= full_height:
            left = int(random.integers(full_width - width + 1))
            top = int(random.integers(full_height - height + 1))
            return left, top, width, height
    ratio = min(max(full_width / full_height, config.crop_ratio[0]), config.crop_ratio[1])
    width = min(full_width, round(full_height * ratio))
    height = min(full_height, round(full_width / ratio))
    return (full_width - width) // 2, (full_height - height) // 2, width, height


def view_generator(seed: int, epoch: int, row: int) -> np.random.Generator:
    """The random numbers of one view: they depend on nothing but seed, epoch and row.

    So a resumed run, a run of more processes, and features that were computed before all see the same.
    """
    return np.random.default_rng((seed, 3, epoch, row))
