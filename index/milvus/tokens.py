"""What is stored beside an item so that Milvus can answer our filters, which its own expressions cannot.

Milvus's comparisons on JSON differ from ours (and among its versions) in what a missing field, null, true,
1.0 and a list mean. So each item carries `tokens`, a short hash for every fact that can be asked for ("the
field a.b is there", "one of its values is the text x"), and `ordered`, numbers and short texts in an encoding
whose order as plain text is theirs. A filter then needs two operations that mean the same everywhere: whether
the array holds a token, and how two texts compare. No text of a caller ever stands in an expression.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

from ..errors import InvalidMetadata

MAX_TOKENS = 4_096  # Milvus's limit for an array
TOKEN_BYTES = 24  # base64 of 16 bytes
RANGED = 8  # so many numbers, and so many texts, of one list can be looked for with a range
TEXT_BYTES = 256  # of a text, for ranges
MAX_ORDERED_BYTES = 65_536  # Milvus's limit for a JSON value
Path = tuple[str, ...]


def facts(text: str, index: int) -> tuple[list[str], dict[str, str]]:
    """`tokens` and `ordered` of the metadata with this JSON text, the item's `index` in the call."""
    tokens, ordered = {token("item")}, dict[str, str]()
    for path, value in _fields(json.loads(text), ()):
        tokens.add(exists(path))
        elements = value if isinstance(value, list) else [value]
        tokens.update(equals(path, one) for one in elements if not isinstance(one, dict | list))
        for kind in ("number", "text"):
            sortable = sorted({encoded(one) for one in elements if kind_of(one) == kind})
            if len(sortable) > RANGED:
                tokens.add(crowded(path, kind))
                continue
            for rank, code in enumerate(sortable):
                tokens.add(ranked(path, kind, rank))
                ordered[ranked(path, kind, rank)] = code
    size = len(json.dumps(ordered))
    if len(tokens) > MAX_TOKENS or size > MAX_ORDERED_BYTES:
        raise InvalidMetadata(
            f"metadata {index} has {len(tokens)} values and keys and {size} bytes to compare; a collection in"
            f" Milvus holds at most {MAX_TOKENS} and {MAX_ORDERED_BYTES}"
        )
    return sorted(tokens), ordered


def _fields(value: dict[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    """Every field of nested objects with its value."""
    for key, inner in value.items():
        yield (*path, key), inner
        if isinstance(inner, dict):
            yield from _fields(inner, (*path, key))


def token(*parts: object) -> str:
    """A text of 24 characters that stands for the parts, with no character that an expression minds."""
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).decode()


def exists(path: Path) -> str:
    """The field is there."""
    return token("exists", path)


def equals(path: Path, value: object) -> str:
    """The field has this value, or its list has it; 1 and 1.0 are equal, 1 and true are not."""
    kind = kind_of(value)
    return token("equals", path, kind, number(value) if kind == "number" else value)


def ranked(path: Path, kind: str, rank: int) -> str:
    """The field has more than `rank` values of this kind; also the key of that value in `ordered`."""
    return token("ranked", path, kind, rank)


def crowded(path: Path, kind: str) -> str:
    """The field's list has more values of this kind than a range can look at."""
    return token("crowded", path, kind)


def kind_of(value: object) -> str:
    """ "number", "text", or another word for what has no order."""
    if isinstance(value, bool) or value is None:
        return "constant"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "container"


def encoded(value: object) -> str:
    """Hexadecimal text whose order is that of the values, among numbers or among texts.

    A text beyond 256 bytes is cut to 257, which leaves its place among texts of up to 256 bytes.
    """
    return value.encode()[: TEXT_BYTES + 1].hex() if isinstance(value, str) else number(value)


def number(value: object) -> str:
    """A number as the bits of the nearest float64, made to sort, and what an integer differs from it."""
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r:.80} is no number")
    near = float(value) + 0.0  # -0.0 becomes 0.0
    rest = value - int(near) if isinstance(value, int) else 0  # at most 512 for 64 bits
    bits = int.from_bytes(struct.pack(">d", near), "big")
    sortable = bits ^ (2**64 - 1) if bits >> 63 else bits | 1 << 63
    return f"{sortable:016x}{rest + 2_048:03x}"
