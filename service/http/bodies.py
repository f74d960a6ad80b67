"""Reads bodies of JSON, and the texts, pictures and vectors in them. No address is ever fetched."""

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import ClientDisconnect, Request

from ...errors import InvalidInput
from ..encoding import object_from_json
from ..errors import InvalidField, TooLarge
from ..records import (
    Effort,
    IdQuery,
    ImageQuery,
    Manner,
    MixtureQuery,
    PlainQuery,
    Query,
    TextQuery,
    VectorQuery,
)
from ..settings import Limits

DATA_URI = re.compile(r"data:image/[a-z0-9.+-]+(?:;[a-z0-9=-]+)*;base64,", re.IGNORECASE)
Body = Mapping[str, Any]
BIG = 64 << 10  # bytes from which reading JSON takes long enough to hold up the event loop
PLAIN = ("text", "image", "id", "vector")


def announced(request: Request, limits: Limits) -> int:
    """How many bytes the body will have: at most those of a full message in base64."""
    most = limits.max_message_bytes * 4 // 3 + BIG
    size = request.headers.get("content-length", "")
    if not size.isdecimal():
        raise InvalidInput("the length of the body is needed: content-length")
    if int(size) > most:
        raise TooLarge(f"the body has {int(size)} bytes; at most {most} are accepted")
    return int(size)


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # also keeps other sites' forms out: they cannot say so unasked
        raise InvalidInput(f"the content-type is {kind!r:.80}, expected 'application/json'")
    try:
        body = await request.body()
    except ClientDisconnect:
        raise InvalidInput("the body ended early") from None
    return _parsed(body) if len(body) < BIG else await asyncio.to_thread(_parsed, body)


def only(body: Body, *known: str, within: str = "") -> None:
    """Refuses names that mean nothing: a misspelt one would be ignored in silence."""
    if unknown := sorted(body.keys() - set(known)):
        raise InvalidField(within + unknown[0][:80], f"unknown; expected some of {', '.join(known)}")


def text_of(value: Any, field: str) -> str:
    """The text."""
    if not isinstance(value, str):
        raise InvalidField(field, f"expected a text, got {_kind(value)}")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InvalidField(field, "half a surrogate pair is no text")
    return value


def image_of(value: Any, field: str) -> bytes:
    """The picture of a data URI or of plain base64."""
    if isinstance(value, Mapping):  # {"url": "data:..."}, as OpenAI's parts have it
        value = value.get("url")
    if not isinstance(value, str):
        raise InvalidField(field, f"expected a data URI, got {_kind(value)}")
    if re.match(r"[a-z][a-z0-9+.-]*://", value, re.IGNORECASE):
        raise InvalidField(field, "addresses are not fetched; send the picture as data:image/…;base64,…")
    found = DATA_URI.match(value)
    if found is None and value[:5].lower() == "data:":
        raise InvalidField(field, "expected data:image/…;base64,…")
    try:
        return base64.b64decode(value[found.end() :] if found else value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidField(field, "not base64") from error


def images_of(body: Body) -> list[bytes]:
    """The pictures of the list `images`."""
    return [image_of(one, f"images[{i}]") for i, one in enumerate(_list(body, "images"))]


def texts_of(body: Body, field: str) -> list[str]:
    """The texts of the list of that name."""
    return [text_of(one, f"{field}[{i}]") for i, one in enumerate(_list(body, field))]


def _list(body: Body, field: str) -> list[Any]:
    value = body.get(field) or []
    if not isinstance(value, list):
        raise InvalidField(field, "expected a list")
    return value


def is_data_uri(value: Any) -> bool:
    """Whether a text is a picture in disguise."""
    return isinstance(value, str) and DATA_URI.match(value) is not None


def whole(body: Body, field: str, default: int) -> int:
    """The whole number of that name."""
    value = body.get(field)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidField(field, f"expected a whole number, got {_kind(value)}")
    return value


def manner_of(body: Body) -> Manner:
    """How to search: effort, diversity and threshold."""
    effort = body.get("effort") or {}
    if not isinstance(effort, Mapping):
        raise InvalidField("effort", f"expected an object, got {_kind(effort)}")
    only(effort, "exact", "nprobe", "ef_search", within="effort.")
    exact, threshold = effort.get("exact", False), body.get("threshold")
    if not isinstance(exact, bool):
        raise InvalidField("effort.exact", f"expected true or false, got {_kind(exact)}")
    numbers = [whole(effort, name, 0) or None for name in ("nprobe", "ef_search")]
    return Manner(
        Effort(exact, *numbers),
        _number(body.get("diversity", 0.0), "diversity"),
        None if threshold is None else _number(threshold, "threshold"),
    )


def query_of(body: Body) -> Query:
    """The query: one of text, image, id, vector and mixture."""
    given = [name for name in (*PLAIN, "mixture") if body.get(name) is not None]
    if len(given) != 1:
        raise InvalidField("query", f"one of text, image, id, vector and mixture is needed; got {given}")
    if given != ["mixture"]:
        return _plain(body, "")
    parts = body["mixture"]
    if not isinstance(parts, list):
        raise InvalidField("mixture", f"expected a list of parts, got {_kind(parts)}")
    return MixtureQuery([_weighted(part, f"mixture[{i}]") for i, part in enumerate(parts)])


def _weighted(part: Any, field: str) -> tuple[PlainQuery, float]:
    if not isinstance(part, Mapping):
        raise InvalidField(field, f"expected an object, got {_kind(part)}")
    only(part, *PLAIN, "weight", within=f"{field}.")
    return _plain(part, f"{field}."), _number(part.get("weight", 1.0), f"{field}.weight")


def _plain(body: Body, prefix: str) -> PlainQuery:
    given = [name for name in PLAIN if body.get(name) is not None]
    if len(given) != 1:
        raise InvalidField(prefix.rstrip("."), f"one of {', '.join(PLAIN)} is needed; got {given}")
    name = given[0]
    value, field = body[name], prefix + name
    if name == "text":
        return TextQuery(text_of(value, field))
    if name == "image":
        return ImageQuery(image_of(value, field))
    if name == "id":
        return IdQuery(text_of(value, field))
    if not isinstance(value, list) or not all(type(number) in (int, float) for number in value):
        raise InvalidField(field, "expected a list of numbers")
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused later
            return VectorQuery(np.array(value, np.float64).astype(np.float32))
    except OverflowError as error:
        raise InvalidField(field, "a number is too large") from error


def _number(value: Any, field: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidField(field, f"expected a number, got {_kind(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidField(field, "the number is too large") from error


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        return object_from_json(body.decode())
    except UnicodeDecodeError as error:
        raise InvalidInput("the body is not UTF-8") from error


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")
