"""Images from anyone: only three formats, only so large, only whole; all else is refused with `InvalidImage`.

The format list is what Pillow may try at all: its other decoders (43 in all, one of them starts Ghostscript)
are never called, whatever a file's name or first bytes claim. Sizes come from the header, before any pixel.
"""

import os
import stat
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TypeAlias

import numpy as np
from PIL import Image

from .errors import InvalidImage

ImageSource: TypeAlias = str | Path | bytes | Image.Image

FORMATS = ("JPEG", "PNG", "WEBP")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
MAX_BYTES = 16 * 2**20
MAX_PIXELS = 40_000_000
# Resizing the shorter side to 448 pixels then stays within about MAX_PIXELS too (448 * 448 * 200).
MAX_RATIO = 200
EIGHT_BIT_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"}
SIXTEEN_BIT_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
# One lazily opened image may stand in a list twice, and Pillow cannot load an image from two threads at once.
LOCKS = [Lock() for _ in range(64)]


def open_image(source: ImageSource, *, draft: int | None = None) -> Image.Image:
    """The decoded image (the first frame of an animation), 8 bits per channel, otherwise in its own mode.

    With `draft` a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, if no side gets shorter than that: its
    decoder then does a fraction of the work, and the pixels are not those of a full decoding, resized.

    Nothing is composited, rotated or converted here: that is preprocessing, which a fingerprint records.
    """
    if isinstance(source, Image.Image):
        image, name = source, "the image"
    elif isinstance(source, bytes):
        image, name = _open(source, "the image"), "the image"
    elif isinstance(source, str | Path):
        image, name = _open(read_file(source), str(source)), str(source)
    else:
        raise InvalidImage(f"expected a path, bytes or a PIL image, got {type(source).__name__}")
    _check_size(image, name)
    if draft is not None and isinstance(source, str | Path | bytes):
        image.draft(None, (draft, draft))  # does nothing to other formats
    with LOCKS[(id(image) >> 4) % len(LOCKS)]:
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # decoders raise nearly anything on damaged data
            raise InvalidImage(f"{name} is damaged or truncated: its pixels cannot be read") from error
    if image.mode in ("P", "PA") and image.palette is None:  # Pillow loads it, and fails in conversions
        raise InvalidImage(f"{name} is damaged: its pixels are of a palette, and it has none")
    return _eight_bit(image, name)


def read_file(path: str | Path, most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file, at most `most`; never waits for a pipe and never reads a device."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise InvalidImage(f"{path} cannot be opened: {getattr(error, 'strerror', error)}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidImage(f"{path} is not a regular file")
        if status.st_size > most:
            raise InvalidImage(f"{path} has {status.st_size} bytes, expected at most {most}")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)  # one byte too many, so that a file that grew is refused
        if len(data) > most:
            raise InvalidImage(f"{path} has more than {most} bytes")
        return data
    except OSError as error:
        raise InvalidImage(f"{path} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _open(data: bytes, name: str) -> Image.Image:
    """The image with its header read and its pixels not yet."""
    if not 0 < len(data) <= MAX_BYTES:
        raise InvalidImage(f"{name} has {len(data)} bytes, expected 1 to {MAX_BYTES}")
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImage(f"{name} has too many pixels, expected at most {MAX_PIXELS}") from error
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise InvalidImage(f"{name} is no image that can be read, expected JPEG, PNG or WEBP") from error


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if not 0 < width * height <= MAX_PIXELS:
        raise InvalidImage(f"{name} has {width} x {height} pixels, expected 1 to {MAX_PIXELS} in all")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InvalidImage(f"{name} has {width} x {height} pixels, expected a ratio of at most {MAX_RATIO}")


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """The image with 16-bit greys reduced to their upper 8 bits: Pillow's own conversion would clip them."""
    if image.mode in EIGHT_BIT_MODES:
        return image
    if image.mode not in SIXTEEN_BIT_MODES:
        raise InvalidImage(f"{name} has the mode {image.mode}, expected 8-bit channels or 16-bit greys")
    greys_HW = np.asarray(image).astype(np.int32).clip(0, 2**16 - 1) >> 8
    reduced = Image.fromarray(greys_HW.astype(np.uint8))
    # Orientation stays; a transparent grey does not, because its value counts 16 bits.
    reduced.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return reduced
