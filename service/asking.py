"""What a caller of the clients may hand in as a query, and the query it stands for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InvalidInput
from .chunks import picture_bytes
from .records import IdQuery, ImageQuery, MixtureQuery, PlainQuery, Query, TextQuery, VectorQuery

# A text; a picture as a path, its bytes, PIL's or an array of its pixels; a query of records.py.
Plain = str | Path | bytes | Image.Image | NDArray[Any] | PlainQuery
Asking = Plain | Sequence[tuple[Plain, float]]
PIXELS = 3  # axes of an array that is a picture; a vector has one


def as_query(value: Asking | Query) -> Query:
    """The query; pairs of a query and its weight are a mixture."""
    if isinstance(value, list | tuple):
        return MixtureQuery([(_plain(part), float(weight)) for part, weight in value])
    if isinstance(value, MixtureQuery):
        return value
    return _plain(value)


def parts(value: Asking | Query) -> int:
    """How many plain queries it has."""
    if isinstance(value, MixtureQuery):
        return len(value.parts)
    return len(value) if isinstance(value, list | tuple) else 1


def _plain(value: Any) -> PlainQuery:
    if isinstance(value, TextQuery | ImageQuery | IdQuery | VectorQuery):
        return value
    if isinstance(value, str):
        return TextQuery(value)
    if isinstance(value, np.ndarray) and value.ndim != PIXELS:
        return VectorQuery(np.asarray(value, np.float32))
    if isinstance(value, Path | bytes | Image.Image | np.ndarray):
        return ImageQuery(picture_bytes(value))
    raise InvalidInput(f"a query is a text, a picture, a vector or a mixture, not {type(value).__name__}")
