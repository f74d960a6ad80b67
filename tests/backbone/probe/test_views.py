"""The views against torchvision's own, which the published recipe uses."""

import math

import numpy as np
import pytest
from PIL import Image
from polylens.backbone.pixels import IMAGENET_MEAN, IMAGENET_STD
from polylens.backbone.probe.config import ProbeConfig
from polylens.backbone.probe.views import centre_view, random_box, train_view, view_generator
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as V

CONFIG = ProbeConfig(model="")


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_a_view_is_torchvisions_crop_at_the_same_place() -> None:
    image = noise(61, 47)
    mirrored = 0
    for epoch in range(12):
        left, top, width, height = random_box(image.size, CONFIG, random := view_generator(0, epoch, 5))
        flip = random.random() < 0.5
        mirrored += flip
        wanted = V.resized_crop(image, top, left, height, width, [28, 28], InterpolationMode.BICUBIC)
        wanted = V.hflip(wanted) if flip else wanted
        tensor = V.normalize(V.to_tensor(wanted), IMAGENET_MEAN, IMAGENET_STD)
        got = train_view(image, 28, CONFIG, view_generator(0, epoch, 5))
        assert np.allclose(got, tensor.numpy(), atol=1e-6)
    assert 0 < mirrored < 12


def test_crops_are_spread_as_torchvisions_are() -> None:
    size = (120, 90)
    ours = np.array([random_box(size, CONFIG, view_generator(0, 0, row)) for row in range(4000)], float)
    cut = transforms.RandomResizedCrop.get_params
    image = noise(*size)
    theirs = np.array([cut(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)], float)
    theirs = theirs[:, [1, 0, 3, 2]]  # its order: top, left, height, width
    for column in range(4):
        own, other = np.sort(ours[:, column]), np.sort(theirs[:, column])
        # Kolmogorov and Smirnov's distance; 0.036 is exceeded once in a hundred such pairs.
        both = np.concatenate([own, other])
        gap = np.abs(np.searchsorted(own, both, "right") - np.searchsorted(other, both, "right")).max() / 4000
        assert gap < 0.05


@pytest.mark.parametrize("size", [(400, 20), (20, 400), (30, 30)])
def test_a_crop_never_leaves_the_image(size: tuple[int, int]) -> None:
    wide = ProbeConfig(model="", crop_scale=(0.9, 1.0))  # fits no long image: the centre is taken
    for row in range(200):
        for config in (CONFIG, wide):
            left, top, width, height = random_box(size, config, view_generator(1, 0, row))
            assert 0 <= left and left + width <= size[0] and width > 0
            assert 0 <= top and top + height <= size[1] and height > 0
    if size == (400, 20):
        assert random_box(size, wide, view_generator(1, 0, 0)) == ((400 - 27) // 2, 0, round(20 * 4 / 3), 20)


def test_the_centre_is_torchvisions() -> None:
    for image in (noise(61, 47), noise(30, 90)):
        chain = transforms.Compose(
            [
                transforms.Resize(28, InterpolationMode.BICUBIC),
                transforms.CenterCrop(28),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )
        assert np.allclose(centre_view(image, 28), chain(image).numpy(), atol=1e-6)


def test_a_view_depends_on_seed_epoch_and_row_alone() -> None:
    def drawn(*key: int) -> float:
        return float(view_generator(*key).random())

    assert drawn(0, 1, 2) == drawn(0, 1, 2)
    assert len({drawn(0, 1, 2), drawn(1, 1, 2), drawn(0, 2, 2), drawn(0, 1, 3)}) == 4
    areas = [math.prod(random_box((100, 100), CONFIG, view_generator(0, e, 0))[2:]) for e in range(300)]
    assert 0.08 * 1e4 * 0.9 < min(areas) < 1500 and 8000 < max(areas) <= 1e4
