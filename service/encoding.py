"""How vectors and JSON objects travel inside messages. D = dimensions of a vector."""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from ..errors import InvalidInput
from .errors import TooLarge
from .records import Vector


def vector_to_bytes(vector_D: Vector) -> bytes:
    """The vector as little-endian 32-bit floats."""
    return np.ascontiguousarray(vector_D, "<f4").tobytes()


def vector_from_bytes(data: bytes) -> Vector:
    """The vector (D,) float32, read-only; it may hold NaN."""
    if len(data) % 4:
        raise InvalidInput(f"the vector has {len(data)} bytes, not a multiple of 4 (32-bit floats)")
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False)


def object_to_json(value: Mapping[str, Any]) -> str:
    """The object as JSON text; empty for an empty object."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) if value else ""
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"not a JSON object: {error}") from error


def object_from_json(text: str, limit: int | None = None) -> dict[str, Any]:
    """The object of a JSON text of at most `limit` bytes; empty for an empty text. NaN is refused."""
    if limit is not None and (size := len(text.encode())) > limit:
        raise TooLarge(f"the JSON has {size} bytes; at most {limit} are accepted")
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite) if text else {}
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"a JSON {type(value).__name__} where an object is expected")
    return value


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(digits)
    return number
