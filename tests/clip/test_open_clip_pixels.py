"""Pixels made without torch are those of open_clip's own transform; a draft gives others, quicker."""

import io
from pathlib import Path

import numpy as np
import pytest
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from polylens.backbone.images import open_image
from polylens.backbone.pixels import Preprocess, mode_and_draft
from polylens.clip.open_clip_pixels import OpenClipPixels
from polylens.clip.recipe import AS_STORED, DECODE_ONLY, prepared, read, written
from polylens.clip.seen import seen

IMAGES = sorted((Path(__file__).parents[1] / "golden" / "preprocess" / "images").iterdir())
CONFIG = {
    "size": (56, 56),
    "mode": "RGB",
    "mean": (0.48, 0.46, 0.41),
    "std": (0.27, 0.26, 0.28),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
MODES = ("L", "RGB", "P", "1", "CMYK", "LA", "RGBA", "YCbCr")


def photo(width: int, height: int) -> Image.Image:
    return Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 60).convert("RGB")


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.mark.parametrize("preprocess", ["service", "retrieval"])
def test_pixels_equal_those_of_open_clip(preprocess: str) -> None:
    ours = OpenClipPixels.of(CONFIG, preprocess, False)
    theirs = image_transform_v2(PreprocessCfg(**CONFIG), is_train=False)
    assert ours is not None
    shapes = [(56, 56), (57, 200), (333, 91), (20, 30), (640, 479)]
    pictures = [photo(*shape).convert(mode) for shape in shapes for mode in MODES]
    pictures += [open_image(path) for path in IMAGES]
    for image in pictures:
        want = theirs(seen(image, preprocess)).numpy()
        assert np.array_equal(ours(image), want), (image.mode, image.size)


@pytest.mark.parametrize(
    "unusual", [{"interpolation": "bilinear"}, {"resize_mode": "squash"}, {"size": (56, 64)}]
)
def test_an_unusual_preprocessing_is_left_to_open_clip(unusual: dict[str, object]) -> None:
    assert OpenClipPixels.of(CONFIG | unusual, "service", False) is None


def test_recipes_say_it_all() -> None:
    pixels = OpenClipPixels.of(CONFIG, "retrieval", True)
    assert pixels is not None and read(written(pixels)) == pixels
    data = jpeg(photo(300, 200))
    assert np.array_equal(prepared(written(pixels), data), pixels(open_image(data, draft=56)))


def test_decoding_alone_keeps_the_choice_of_the_picture() -> None:
    rotated = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(30, 20).save(rotated, "JPEG", exif=exif)
    sizes = [prepared(recipe, rotated.getvalue()).size for recipe in (DECODE_ONLY, AS_STORED)]
    assert sizes == [(20, 30), (30, 20)]


def test_a_draft_is_near_and_not_equal_and_has_another_fingerprint() -> None:
    data = jpeg(photo(1000, 800))
    exact, draft = Preprocess("service", 56), Preprocess("service", 56, draft=True)
    assert open_image(data, draft=56).size == (125, 100)  # an eighth
    pixels, drafted = exact(open_image(data)), draft(open_image(data, draft=draft.draft_size))
    assert not np.array_equal(pixels, drafted)
    assert np.abs(pixels - drafted).mean() < 0.1
    assert "decode" in draft.spec and "decode" not in exact.spec
    assert mode_and_draft("service+draft") == ("service", True)


@pytest.mark.parametrize("size", [(100, 80), (50, 400)])
def test_a_draft_never_has_less_than_is_needed(size: tuple[int, int]) -> None:
    assert min(open_image(jpeg(photo(*size)), draft=56).size) >= min(56, *size)
