"""The stage between reading and the model: files are opened, pictures decoded, texts cut into tokens."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ...errors import InvalidInput
from ..batches import Pixels
from ..encoder import Encoder
from ..errors import PictureTooLarge
from ..images import MAX_BYTES
from .errors import BadSample
from .locations import read_location
from .samples import At, Prepared, Reject, Row, Sample
from .settings import Settings

Decode: TypeAlias = Callable[[bytes], Pixels]  # the pixels of an encoded picture, or `InvalidImage`

MAX_TEXT = 1 << 20  # bytes of a caption or of further columns in a file of their own


def prepare(
    sample: Sample | Reject, settings: Settings, *, encoder: Encoder, decode: Decode
) -> Prepared | Reject:
    """The sample as the model takes it, or why it cannot; an OSError is nobody's fault and goes on."""
    if isinstance(sample, Reject):
        return sample
    try:
        caption = _text(sample, settings)
        pixels = ids = None
        if settings.images:
            if sample.image is None:
                raise BadSample("has no picture")
            pixels = decode(_loaded(sample.image, MAX_BYTES))
        if settings.texts:
            if caption is None:
                raise BadSample("has no caption")
            ids = encoder.prepare_text(caption)
        return Prepared(Row(sample.id, sample.path, caption, _columns(sample.about)), pixels, ids)
    except (InvalidInput, PictureTooLarge) as error:
        return Reject(sample.id, _reason(error, sample))


def _loaded(part: bytes | At, most: int) -> bytes:
    return read_location(part.location, most) if isinstance(part, At) else part


def _text(sample: Sample, settings: Settings) -> str | None:
    """The caption. Where it is only a column of the metadata, no fault of its own costs the sample."""
    if sample.text is None or isinstance(sample.text, str):
        return sample.text
    try:
        return _loaded(sample.text, MAX_TEXT).decode("utf-8").strip()
    except UnicodeDecodeError as error:
        if settings.texts:
            raise BadSample(f"the caption is not UTF-8: {error.reason}") from error
    except InvalidInput:
        if settings.texts:
            raise
    return None


def _columns(about: Mapping[str, Any] | bytes | At) -> Mapping[str, Any]:
    """The further columns; of JSON that cannot be read, one that says so."""
    if isinstance(about, Mapping):
        return about
    try:
        found = json.loads(_loaded(about, MAX_TEXT))
    except (ValueError, RecursionError) as error:
        return {"json_error": str(error)}
    return found if isinstance(found, dict) else {"json_error": "no object"}


def _reason(error: Exception, sample: Sample) -> str:
    """The error's words without the place of the file, which may be another one tomorrow."""
    text = str(error)
    for part in (sample.image, sample.text):
        if isinstance(part, At):
            text = text.removeprefix(f"{part.location} ")
    return os.fsencode(text.removeprefix("the image ")).decode("utf-8", "backslashreplace")


def decode_here(encoder: Encoder) -> Decode:
    """Decoding in this process, in whichever thread asks."""
    return encoder.prepare_image


def decode_there(encoder: Encoder, processes: Callable[[bytes], Any]) -> Decode:
    """Decoding in other processes; if these only decode, the rest is done in the thread that asks."""

    def decode(image: bytes) -> Pixels:
        made = processes(image)
        return encoder.prepare_image(made) if not hasattr(made, "dtype") else made

    return decode
