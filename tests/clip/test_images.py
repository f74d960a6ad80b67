"""Images from anyone: what is accepted keeps its pixels, what is not is refused before it costs anything."""

import io
import os
import random
import resource
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from polylens.clip.errors import InvalidImage
from polylens.clip.images import MAX_BYTES, MAX_RATIO, open_image


def picture(width: int = 24, height: int = 16) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [rows * 11, columns * 7, rows + columns]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that claims a size and carries 1 kB of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(2**20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_bytes_path_and_image_give_the_same_pixels(tmp_path: Path, kind: str) -> None:
    image = picture()
    data = encoded(image, kind, lossless=True)
    path = tmp_path / "picture.txt"  # the name says nothing: the content decides
    path.write_bytes(data)
    for source in (data, path, str(path), Image.open(path), image):
        np.testing.assert_array_equal(np.asarray(open_image(source)), np.asarray(image))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_stays_as_it_is(mode: str) -> None:
    image = picture().convert(mode)
    opened = open_image(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert opened.mode == mode and opened.size == image.size
    opened.convert("RGB")


def test_sixteen_bit_greys_keep_their_upper_bits() -> None:
    greys_HW = (np.arange(512, dtype=np.uint16) * 128).reshape(16, 32)
    opened = open_image(encoded(Image.fromarray(greys_HW)))
    np.testing.assert_array_equal(np.asarray(opened), greys_HW >> 8)
    clipped = np.asarray(Image.fromarray(greys_HW).convert("RGB"))[..., 0]
    assert (clipped != greys_HW >> 8).any()  # what Pillow alone would do


def test_orientation_is_kept_for_preprocessing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = open_image(encoded(picture(), "JPEG", exif=exif))
    assert opened.size == (24, 16) and opened.getexif()[0x0112] == 6


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert open_image(data).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "EPS", "PPM", "ICO", "PDF", "TGA"])
def test_other_formats_never_reach_their_decoder(kind: str) -> None:
    data = encoded(picture(), kind)
    with pytest.raises(InvalidImage, match="expected JPEG, PNG or WEBP"):
        open_image(data)
    if kind != "PDF":  # Pillow only writes it; the others it would have opened
        assert Image.open(io.BytesIO(data)).format == kind


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_image_is_refused_wherever_it_ends(kind: str) -> None:
    data = encoded(picture(240, 160), kind)
    whole = np.asarray(open_image(data))
    refused, lengths = 0, range(0, len(data), 17)
    for length in lengths:
        try:
            cut = np.asarray(open_image(data[:length]))
        except InvalidImage:
            refused += 1
        else:  # only what follows the last pixel may be missing
            np.testing.assert_array_equal(cut, whole)
    assert refused > 0.95 * len(lengths)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_damaged_images_are_read_or_refused_never_anything_else(kind: str) -> None:
    generator = random.Random(7)
    data = encoded(picture(), kind)
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(len(data))] = generator.randrange(256)
        try:
            assert open_image(bytes(damaged)).size > (0, 0)
        except InvalidImage:
            pass


def test_a_palette_picture_without_its_palette_is_refused() -> None:
    whole = encoded(picture().convert("P"))
    begin = whole.index(b"PLTE") - 4
    (length,) = struct.unpack(">I", whole[begin : begin + 4])
    without = whole[:begin] + whole[begin + length + 12 :]
    Image.open(io.BytesIO(without)).load()  # the control: Pillow alone takes it
    assert open_image(whole).mode == "P"
    with pytest.raises(InvalidImage, match="of a palette, and it has none"):
        open_image(without)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [6_400, 10_000, 60_000])
def test_a_bomb_is_refused_from_its_header(side: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidImage, match="pixels, expected"):
        open_image(png_header_only(side, side))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
    if side == 6_400:  # below Pillow's own limit: without ours it would be decoded
        assert Image.open(io.BytesIO(png_header_only(side, side))).size == (side, side)


def test_a_bomb_is_refused_when_warnings_are_errors() -> None:
    with pytest.raises(InvalidImage, match="too many pixels"):
        open_image(png_header_only(10_000, 10_000))


def test_sizes_at_the_limits() -> None:
    assert open_image(Image.new("L", (8_000, 5_000))).size == (8_000, 5_000)
    assert open_image(Image.new("L", (1, MAX_RATIO))).size == (1, MAX_RATIO)
    assert open_image(Image.new("L", (1, 1))).size == (1, 1)
    for size in ((8_000, 5_001), (1, MAX_RATIO + 1), (MAX_RATIO + 1, 1), (0, 4)):
        with pytest.raises(InvalidImage, match="pixels, expected"):
            open_image(Image.new("L", size))


def test_too_many_bytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(InvalidImage, match=f"10737418240 bytes, expected at most {MAX_BYTES}"):
        open_image(path)
    with pytest.raises(InvalidImage, match="bytes, expected 1 to"):
        open_image(bytes(MAX_BYTES + 1))
    with pytest.raises(InvalidImage, match="has 0 bytes"):
        open_image(b"")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(InvalidImage, match="is not a regular file"):
            open_image(path)
    with pytest.raises(InvalidImage, match="No such file"):
        open_image("missing.png")
    with pytest.raises(InvalidImage, match="null"):
        open_image("a\0b")
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InvalidImage):
        open_image(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_what_is_no_image_is_refused() -> None:
    for source in (None, 3, [b""], np.zeros((2, 2, 3), np.uint8)):
        with pytest.raises(InvalidImage, match="expected a path, bytes or a PIL image, got"):
            open_image(source)  # type: ignore[arg-type]
    with pytest.raises(InvalidImage, match="has the mode F"):
        open_image(Image.new("F", (2, 2)))


def test_one_lazy_image_may_be_opened_from_many_threads() -> None:
    data = encoded(picture(600, 400))
    expected = np.asarray(Image.open(io.BytesIO(data)))
    for _ in range(5):
        lazy = Image.open(io.BytesIO(data))
        results: list[bool] = []

        def check(image: Image.Image = lazy, results: list[bool] = results) -> None:
            results.append(np.array_equal(np.asarray(open_image(image)), expected))

        threads = [threading.Thread(target=check) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 8
