"""Good pictures of every kind that is taken, and damaged ones without end."""

import io
import struct
import zlib
from collections.abc import Iterator
from random import Random

import numpy as np
from PIL import Image

SIZES = ((1, 1), (1, 40), (33, 1), (17, 9), (64, 48), (120, 90))
MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
}
OPTIONS: dict[str, list[dict[str, object]]] = {
    "JPEG": [{"quality": 80}, {"progressive": True, "optimize": True}],
    "PNG": [{}, {"compress_level": 0}],
    "WEBP": [{"quality": 70}, {"lossless": True}],
}
SIGNATURE = b"\x89PNG\r\n\x1a\n"
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF)
NUMBERS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def seeds() -> list[bytes]:
    """About 140 sound pictures: formats, modes, sizes, ways of encoding, animations, notes of cameras."""
    found = [
        encoded(image, kind, **options)
        for kind, modes in MODES.items()
        for mode in modes
        for size in SIZES
        for options in OPTIONS[kind]
        for image in [made(mode, size)]
    ]
    notes = Image.Exif()
    notes[0x0112], notes[0x010F] = 6, "maker" * 20
    big = made("RGB", (64, 48))
    found += [encoded(big, kind, exif=notes.tobytes(), icc_profile=b"no profile" * 9) for kind in MODES]
    frames = {"save_all": True, "append_images": [made("RGB", (64, 48), 9)] * 3}
    return found + [encoded(big, kind, **frames) for kind in ("PNG", "WEBP")]


def made(mode: str, size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A picture of that mode with something to see."""
    width, height = size
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width) * 5)
    if mode == "I;16":
        return Image.fromarray((ramp * 300).astype(np.uint16))
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 4))
    image = Image.fromarray(((ramp[..., None] + noise) % 256).astype(np.uint8), "RGBA")
    return image if mode == "RGBA" else image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The picture in a file of that kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def damaged(random: Random, whole: list[bytes]) -> Iterator[bytes]:
    """Pictures with one to four kinds of damage each; half of the PNGs with checksums that fit again."""
    while True:
        data = bytearray(random.choice(whole))
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            random.choice(DAMAGE)(random, data, whole)
        if data.startswith(SIGNATURE) and random.random() < 0.5:
            mend_checksums(data)
        yield bytes(data)


def mend_checksums(png: bytearray) -> None:
    """Makes the checksum of every chunk fit, so that the damage is not refused for it."""
    at = len(SIGNATURE)
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        if at + 12 + length > len(png):
            return
        struct.pack_into(">I", png, at + 8 + length, zlib.crc32(png[at + 4 : at + 8 + length]))
        at += 12 + length


def _flip(random: Random, data: bytearray, whole: list[bytes]) -> None:
    for _ in range(random.randint(1, 16)):
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set(random: Random, data: bytearray, whole: list[bytes]) -> None:
    for _ in range(random.randint(1, 4)):
        if data:
            data[random.randrange(len(data))] = random.choice(EDGES)


def _cut(random: Random, data: bytearray, whole: list[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


def _take_out(random: Random, data: bytearray, whole: list[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    del data[at : at + random.randint(1, 64)]


def _repeat(random: Random, data: bytearray, whole: list[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = data[at : at + random.randint(1, 256)] * random.randint(1, 8)


def _insert(random: Random, data: bytearray, whole: list[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.randbytes(random.randint(1, 64))


def _blank(random: Random, data: bytearray, whole: list[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    length = min(random.randint(1, 128), len(data) - at)
    data[at : at + length] = bytes([random.choice(EDGES)]) * length


def _number(random: Random, data: bytearray, whole: list[bytes]) -> None:
    """Sizes and lengths stand in the first bytes, in either order."""
    at = random.randrange(min(len(data) + 1, 200))
    data[at : at + 4] = struct.pack(random.choice("<>") + "I", random.choice(NUMBERS))


def _splice(random: Random, data: bytearray, whole: list[bytes]) -> None:
    other = random.choice(whole)
    data[random.randrange(len(data) + 1) :] = other[random.randrange(len(other)) :]


DAMAGE = (_flip, _flip, _set, _cut, _take_out, _repeat, _insert, _blank, _number, _splice)
