"""The test transform: sizes of the recipe, whole patches, masks untouched."""

from typing import Any

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from polylens.errors import InvalidInput


def resized(height: int, width: int, **settings: Any) -> dict[str, Any]:
    transform = TRANSFORMS.build({"type": "ResizeToPatches", "scale": (2016, 504), **settings})
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return transform({"img": image, "gt_seg_map": "untouched"})


@pytest.mark.parametrize(
    ("height", "width", "want"),
    [
        (504, 504, (504, 504)),
        (512, 683, (504, 672)),  # 504 / 512 * 683 = 672.3: 48 patches
        (683, 512, (672, 504)),
        (100, 100, (504, 504)),
        (1000, 8000, (504, 4032)),  # 2016 would leave 252 pixels on the shorter side
    ],
)
def test_sizes(height: int, width: int, want: tuple[int, int]) -> None:
    results = resized(height, width, shorter=504)
    assert results["img"].shape == (*want, 3)
    assert results["img_shape"] == results["pad_shape"] == want
    assert results["scale_factor"] == (want[1] / width, want[0] / height)
    assert results["gt_seg_map"] == "untouched"


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 255, (504, 672, 3), dtype=np.uint8)
    assert np.array_equal(resized(504, 672)["img"], image)


def test_without_a_shortest_side_the_longest_counts() -> None:
    assert resized(1000, 8000)["img"].shape == (252, 2016, 3)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two sides and a multiple"):
        resized(10, 10, multiple=0)
