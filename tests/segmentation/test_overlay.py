"""The pictures: colours where the classes are, a legend of what occurs."""

import numpy as np
from PIL import Image
from polylens.segmentation.overlay import Legend, class_map, overlay, shares

LEGEND = Legend(names=("sky", "sea", "boat"), palette=[[0, 0, 255], [0, 255, 0], [255, 0, 0]])


def classes() -> np.ndarray:
    values = np.zeros((40, 60), dtype=np.uint8)
    values[10:] = 1
    values[:2] = 255
    return values


def test_shares_are_of_all_pixels_and_the_largest_comes_first() -> None:
    assert list(shares(classes(), LEGEND.names).items()) == [("sea", 0.75), ("sky", 0.2)]


def test_a_class_map_keeps_the_numbers_and_has_the_colours() -> None:
    picture = class_map(classes(), LEGEND)
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), classes())
    colours = picture.convert("RGB")
    assert [colours.getpixel((5, y)) for y in (0, 5, 20)] == [(0, 0, 0), (0, 0, 255), (0, 255, 0)]


def test_the_overlay_mixes_colours_and_has_a_legend_at_the_right() -> None:
    sheet = overlay(Image.new("RGB", (60, 40), (100, 100, 100)), classes(), LEGEND, opacity=0.5)
    assert sheet.getpixel((5, 20)) == (50, 177, 50)
    assert sheet.width > 60
    beside = np.asarray(sheet.crop((60, 0, sheet.width, sheet.height))).reshape(-1, 3).tolist()
    assert [0, 255, 0] in beside and [0, 0, 255] in beside
    assert [255, 0, 0] not in beside  # no boat in this picture


def test_no_class_at_all() -> None:
    nothing = np.full((40, 60), 255, dtype=np.uint8)
    assert overlay(Image.new("RGB", (60, 40)), nothing, LEGEND).height >= 40
