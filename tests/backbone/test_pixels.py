"""Preprocessing: the original's two ways exactly, the service's way by its properties."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from polylens.backbone import Preprocess
from polylens.backbone.pixels import IMAGENET_MEAN, IMAGENET_STD, UPRIGHT
from polylens.errors import InvalidInput

GOLDEN = Path(__file__).parents[1] / "golden" / "preprocess"
NAMES = sorted(json.loads((GOLDEN / "images.json").read_text())["images"])


@pytest.mark.parametrize("size", [56, 224])
@pytest.mark.parametrize("mode", ["retrieval", "classification"])
def test_equals_the_original(mode: str, size: int) -> None:
    with np.load(GOLDEN / f"expected_{size}.npz", allow_pickle=False) as expected:
        for name in NAMES:
            with Image.open(GOLDEN / "images" / name) as image:
                pixels_CHW = Preprocess(mode, size)(image)
            assert pixels_CHW.dtype == np.float32 and pixels_CHW.flags.c_contiguous
            np.testing.assert_allclose(
                pixels_CHW, expected[f"{Path(name).stem}__{mode}"], atol=1e-6, rtol=0, err_msg=name
            )


def test_the_two_ways_differ() -> None:
    with Image.open(GOLDEN / "images" / "rgb_wide.png") as image:
        assert (
            np.abs(Preprocess("retrieval", 56)(image) - Preprocess("classification", 56)(image)).max() > 0.1
        )


def test_service_is_retrieval_for_plain_pictures() -> None:
    with Image.open(GOLDEN / "images" / "rgb_wide.png") as image:
        assert np.array_equal(Preprocess("service", 56)(image), Preprocess("retrieval", 56)(image))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_service_turns_pictures_upright(orientation: int) -> None:
    scene = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))
    # Store it turned the other way round, as a camera would.
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = scene.transpose(inverse.get(orientation, UPRIGHT[orientation]))
    stored.getexif()[0x0112] = orientation
    assert np.array_equal(Preprocess("service", 28)(stored), Preprocess("retrieval", 28)(scene))
    assert not np.array_equal(Preprocess("retrieval", 28)(stored), Preprocess("retrieval", 28)(scene))


def test_service_ignores_unreadable_exif() -> None:
    image = Image.new("RGB", (20, 30), "red")
    plain = Preprocess("service", 28)(image)
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        image.info["exif"] = exif
        assert np.array_equal(Preprocess("service", 28)(image), plain)


def white(mode: str) -> Image.Image:
    """A fully transparent black picture."""
    if mode == "P":
        image = Image.new("P", (20, 30), 0)
        image.info["transparency"] = bytes([0])
        return image
    return Image.new(mode, (20, 30), 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_service_puts_transparency_on_white(mode: str) -> None:
    brightest = ((1 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD))[:, None, None]
    darkest = (-np.array(IMAGENET_MEAN) / np.array(IMAGENET_STD))[:, None, None]
    np.testing.assert_allclose(
        Preprocess("service", 28)(white(mode)), brightest.repeat(28, 1).repeat(28, 2), 1e-6
    )
    np.testing.assert_allclose(
        Preprocess("retrieval", 28)(white(mode)), darkest.repeat(28, 1).repeat(28, 2), 1e-6
    )


def test_the_callers_image_is_left_alone() -> None:
    with Image.open(GOLDEN / "images" / "rgba.png") as image:
        image.load()
        before = image.copy()
        Preprocess("service", 28)(image)
        assert image.mode == before.mode and image.tobytes() == before.tobytes()


def test_spec_names_every_choice() -> None:
    specs = [
        Preprocess(mode, size).spec
        for mode in ("retrieval", "classification", "service")
        for size in (56, 224)
    ]
    specs.append(Preprocess("service", 56, mean=(0.5, 0.5, 0.5)).spec)
    specs.append(Preprocess("service", 56, std=(0.5, 0.5, 0.5)).spec)
    assert len({json.dumps(spec, sort_keys=True) for spec in specs}) == len(specs)
    assert Preprocess("service", 56).spec == Preprocess("service", 56).spec


@pytest.mark.parametrize(("mode", "size"), [("squash", 56), ("service", 0)])
def test_refuses_unknown_modes_and_sizes(mode: str, size: int) -> None:
    with pytest.raises(InvalidInput, match="Preprocess"):
        Preprocess(mode, size)
