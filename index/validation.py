"""Checks of everything a caller hands in, made before anything is written."""

import json
import math
import operator
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidInput
from .errors import DimensionMismatch, InvalidId, InvalidMetadata, InvalidVector

MAX_DIM = 32_768
MAX_FINGERPRINT = 256  # characters
MAX_K = 1_000
MAX_QUERIES = 4_096  # per search
MAX_ROWS = 65_536  # per upsert, delete or get
MAX_PAGE = 10_000  # rows per scan
MAX_ID_BYTES = 256
MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 32
MAX_RESULTS = MAX_K * MAX_QUERIES  # hits in one answer
MAX_RANGE = 10_000  # hits per query of a range search
MAX_PAIRS = 100_000  # near duplicates in one answer
MAX_KEY = 256  # characters of an idempotency key
NORM_TOLERANCE = 1e-3  # float32 unit vectors are within 1e-6, float16 ones within 1e-3
MIN_NORM = 1e-6
MAX_SCORE = 1e9  # beyond any inner product of two vectors
MAX_NORM = 1e4  # with the inner product; so a float16, which ends at 65 504, holds every component


def whole(name: str, value: SupportsIndex, low: int, high: int) -> int:
    """The value as an int in [low, high]."""
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidInput(f"{name} is {value!r}, expected an integer") from None
    if isinstance(value, bool) or not low <= number <= high:
        raise InvalidInput(f"{name} is {value!r}, expected {low} to {high}")
    return number


def fingerprint(value: str) -> str:
    """The value, a non-empty short string."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_FINGERPRINT:
        raise InvalidInput(f"fingerprint is {value!r:.80}, expected 1 to {MAX_FINGERPRINT} characters")
    return value


def vectors(
    value: ArrayLike, *, dim: int, limit: int, normalize: bool, metric: str = "cosine"
) -> NDArray[np.float32]:
    """An own float32 copy (N, dim) of finite rows, exactly as given or scaled to norm 1.

    With the metric "cosine" their norm must be 1 within 1e-3. Refuses rather than repairs: a vector that is
    not unit is the sign of another model or a forgotten step, and inner products with it are no cosines. A
    caller who means it says `normalize=True`. With the metric "inner_product" norms of up to 1e4 pass.
    """
    vectors, norms = _measured(value, dim, limit)
    cosine = metric == "cosine"
    good = np.abs(norms - 1) <= NORM_TOLERANCE if cosine else norms <= MAX_NORM  # false for NaN
    if good.all() and not normalize:
        return vectors
    expected = f"1 within {NORM_TOLERANCE:g}" if cosine else f"at most {MAX_NORM:g}"
    _refuse(~np.isfinite(norms), "holds NaN or infinity", norms, expected)
    if cosine or normalize:
        _refuse(norms <= MIN_NORM, "has no direction", norms, expected)
    if normalize:
        return np.array(vectors / norms[:, None], dtype=np.float32)
    wrong = "is not a unit vector" if cosine else "is too long"
    _refuse(~good, f"{wrong} (normalize=True scales it)", norms, expected)
    return vectors


def _measured(value: ArrayLike, dim: int, limit: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """An own copy (N, dim) of the rows, and their norms (N,); NaN or infinity where a row holds one."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; tensors that numpy cannot hold
        raise InvalidVector(f"vectors do not form an array: {error}") from None
    if array.ndim != 2 or array.shape[1] != dim:
        raise DimensionMismatch(f"vectors have shape {array.shape}, expected (N, {dim})")
    if len(array) > limit:
        raise InvalidInput(f"{len(array)} vectors in one call, expected at most {limit}")
    if array.dtype.kind != "f":
        raise InvalidVector(f"vectors have dtype {array.dtype}, expected float32 (or float16, float64)")
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        vectors = np.array(array, dtype=np.float32, order="C", copy=True)
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return vectors, norms


def _refuse(bad: NDArray[np.bool_], what: str, norms: NDArray[np.float64], expected: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise InvalidVector(f"vector {row} {what}: norm {norms[row]:g}, expected {expected}")


def choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """The value, one of those allowed."""
    if value not in allowed:
        raise InvalidInput(f"{name} is {value!r:.80}, expected {' or '.join(allowed)}")
    return value


def fraction(name: str, value: float, low: float, high: float) -> float:
    """The value as a finite float in [low, high]."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"{name} is {value!r:.80}, expected a number") from None
    if isinstance(value, bool | str) or not low <= number <= high:  # false for NaN
        raise InvalidInput(f"{name} is {value!r:.80}, expected {low:g} to {high:g}")
    return number


def idempotency_key(value: str) -> str:
    """The key, 1 to 256 characters without NUL."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_KEY or "\0" in value:
        raise InvalidInput(
            f"idempotency key is {value!r:.80}, expected 1 to {MAX_KEY} characters without NUL"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"idempotency key is not valid Unicode: {value!r:.80}") from None
    return value


def versions(values: Iterable[int | None] | None, ids: list[str]) -> list[int | None] | None:
    """The version expected of each id; None for any, 0 for an id that must not be there."""
    if values is None:
        return None
    expected = [None if v is None else whole("if_version", v, 0, 2**63 - 1) for v in values]
    if len(expected) != len(ids):
        raise InvalidInput(f"{len(expected)} versions for {len(ids)} ids")
    if len(set(ids)) < len(ids):
        ((twice, _),) = Counter(ids).most_common(1)
        raise InvalidInput(f"id {twice!r} comes twice, expected once where versions are given")
    return expected


def item_ids(values: Iterable[str]) -> list[str]:
    """The ids as a list; each 1 to 256 bytes of UTF-8 without NUL."""
    if isinstance(values, str | bytes):
        raise InvalidId("ids is one string, expected a list of strings")
    ids = list(values)
    if len(ids) > MAX_ROWS:
        raise InvalidInput(f"{len(ids)} ids in one call, expected at most {MAX_ROWS}")
    for index, value in enumerate(ids):
        if not isinstance(value, str):
            raise InvalidId(f"id {index} is of type {type(value).__name__}, expected str")
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise InvalidId(f"id {index} is not valid Unicode: {value!r:.80}") from None
        if not 0 < size <= MAX_ID_BYTES or "\0" in value:
            raise InvalidId(f"id {index} has {size} bytes, expected 1 to {MAX_ID_BYTES} without NUL")
    return ids


def metadata_texts(values: Iterable[Mapping[str, Any]] | None, count: int) -> list[str]:
    """Each metadata object as JSON text of at most 64 KiB; `{}` for all when None."""
    if values is None:
        return ["{}"] * count
    objects = list(values)
    if len(objects) != count:
        raise InvalidMetadata(f"{len(objects)} metadata objects for {count} ids")
    return [_metadata_text(value, index) for index, value in enumerate(objects)]


def _metadata_text(value: Mapping[str, Any], index: int) -> str:
    if not isinstance(value, dict):
        raise InvalidMetadata(
            f"metadata {index} is of type {type(value).__name__}, expected a JSON object (dict)"
        )
    try:
        # A value takes at least two bytes of JSON, so this budget refuses only what is too large anyway.
        _check_json(value, MAX_METADATA_DEPTH, [MAX_METADATA_BYTES // 2])
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise InvalidMetadata(f"metadata {index}: {error}") from None
    if size > MAX_METADATA_BYTES:
        raise InvalidMetadata(
            f"metadata {index} has {size} bytes of JSON, expected at most {MAX_METADATA_BYTES}"
        )
    return text


def _check_json(value: object, depth: int, budget: list[int]) -> None:
    """Raises ValueError for what JSON or SQLite would change or choke on: it must come back as it went in."""
    budget[0] -= 1
    if budget[0] < 0 or depth < 0:
        raise ValueError(f"more than {MAX_METADATA_BYTES} bytes or {MAX_METADATA_DEPTH} levels")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or "\0" in key:  # SQLite takes NUL for the end of a key
                raise ValueError(f"key {key!r:.80} is no string without NUL")
            _check_json(item, depth - 1, budget)
    elif isinstance(value, list):
        for item in value:
            _check_json(item, depth - 1, budget)
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError("an integer beyond 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not JSON")
    elif not (value is None or isinstance(value, str)):
        raise ValueError(f"{type(value).__name__} is not a JSON type")
