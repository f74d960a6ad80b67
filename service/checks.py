"""What a request must satisfy before it costs anything. D = dimensions of the model's vectors."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..errors import InvalidInput
from .errors import InvalidField, TooLarge
from .records import Effort, Manner, Vector
from .settings import Limits

SHORTEST = 1e-6  # vectors shorter than this have no direction worth the name in float32


def check_text(text: str, limits: Limits) -> str:
    """The text, unless it is blank or has too many bytes."""
    if not text.strip():
        raise InvalidInput("the text is empty")
    if (size := len(text.encode())) > limits.max_text_bytes:
        raise TooLarge(f"the text has {size} bytes; at most {limits.max_text_bytes} are accepted")
    return text


def check_image(image: bytes, limits: Limits) -> bytes:
    """The encoded picture, unless it is empty or has too many bytes."""
    if not image:
        raise InvalidInput("the image is empty")
    if len(image) > limits.max_image_bytes:
        raise TooLarge(f"the image has {len(image)} bytes; at most {limits.max_image_bytes} are accepted")
    return image


def unit_vector(vector_D: Vector, dim: int) -> Vector:
    """The vector at unit length, (D,) float32."""
    if vector_D.shape != (dim,):
        raise InvalidInput(f"the vector has shape {vector_D.shape}, the model's have ({dim},)")
    if not np.isfinite(vector_D).all():
        raise InvalidInput("the vector has NaN or infinite numbers")
    wide_D = vector_D.astype(np.float64)  # squares of float32 numbers may overflow float32
    length = float(np.sqrt(wide_D @ wide_D))
    if length < SHORTEST:
        raise InvalidInput(f"the vector has length {length:.3g}, too short to have a direction")
    return (wide_D / length).astype(np.float32)


def check_id(id: str, limits: Limits) -> str:
    """The id, unless it is empty or too long."""
    size = len(id.encode())
    if not 1 <= size <= limits.max_id_bytes:
        raise InvalidInput(f"the id has {size} bytes, not 1 to {limits.max_id_bytes}")
    return id


def check_count(count: int, field: str, limits: Limits) -> None:
    """Refuses a list of more entries than one request may have."""
    if count > limits.max_items:
        raise TooLarge(f"{field}: {count} entries; at most {limits.max_items} are accepted")


def check_k(k: int, queries: int, limits: Limits) -> None:
    """Refuses more hits than one search, or all searches of a batch together, may have."""
    if not 1 <= k <= limits.max_k:
        raise InvalidField("k", f"{k} is not from 1 to {limits.max_k}")
    if k * queries > limits.max_batch_hits:
        raise InvalidField(
            "k", f"{k} hits for each of {queries} queries; {limits.max_batch_hits} in all may be"
        )


def check_manner(manner: Manner) -> None:
    """Refuses a manner of searching that contradicts itself."""
    if manner.threshold is not None and (manner.diversity or manner.effort != Effort()):
        raise InvalidField("threshold", "with a threshold all are found exactly: no effort, no diversity")
    for name, value in (("diversity", manner.diversity), ("threshold", manner.threshold or 0.0)):
        if not -1 <= value <= 1 or (name == "diversity" and value < 0):
            raise InvalidField(name, f"{value:g} is not from {0 if name == 'diversity' else -1} to 1")


def check_no_key(key: str) -> None:
    """Refuses an idempotency key where pictures are embedded: their vectors may differ in the last bits."""
    if key:
        raise InvalidField("idempotency_key", "only points with vectors can be stored under a key")


@contextmanager
def blame(field: str) -> Iterator[None]:
    """Says which field of the request an `InvalidInput` raised inside is about."""
    try:
        yield
    except InvalidField:
        raise
    except InvalidInput as error:
        raise InvalidField(field, str(error)) from error
