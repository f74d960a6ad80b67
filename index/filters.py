"""Conditions on metadata: seven small types, their JSON form, and their translation to SQL.

A field is a dotted path (`"camera.model"`). A condition on a list holds when any element meets it.

JSON form, as MongoDB, Chroma and Pinecone users know it; several keys mean all of them:
    {"lang": "sw", "year": {"$gte": 1990, "$lt": 2000}, "$or": [{"tag": "cat"}, {"tag": {"$in": ["fox"]}}]}
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .errors import InvalidFilter

Scalar = str | int | float | bool | None
MAX_DEPTH = 8
MAX_CONDITIONS = 64
MAX_VALUES = 1_000  # in one `In`
MAX_PARAMETERS = 10_000
MAX_TEXT = 4_096  # characters in a field or value


@dataclass(frozen=True, slots=True)
class Equal:
    """The field has this value; 1 and 1.0 are equal, 1 and true are not."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """The field has one of these values."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field lies within the bounds: numbers by value, texts by code point (so ISO dates by time)."""

    field: str
    gt: str | int | float | None = None
    gte: str | int | float | None = None
    lt: str | int | float | None = None
    lte: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there, even if null."""

    field: str


@dataclass(frozen=True, slots=True)
class And:
    """All of these hold."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of these holds."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold; true where the field is missing."""

    filter: "Filter"


Filter = Equal | In | Range | Exists | And | Or | Not
Sql = tuple[str, list[str | int | float]]


def to_sql(condition: Filter) -> Sql:
    """A boolean SQL expression over `row.metadata`, never NULL, and its parameters, all of them bound."""
    sql, parameters = _Translation().of(condition, MAX_DEPTH)
    if len(parameters) > MAX_PARAMETERS:
        raise InvalidFilter(f"{len(parameters)} values in the filter, expected at most {MAX_PARAMETERS}")
    return sql, parameters


class _Translation:
    def __init__(self) -> None:
        self.conditions = 0

    def of(self, condition: Filter, depth: int) -> Sql:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS or depth <= 0:
            raise InvalidFilter(f"more than {MAX_CONDITIONS} conditions or {MAX_DEPTH} levels in the filter")
        match condition:
            case Equal(field, value):
                return _any_element(field, _one_of((value,)))
            case In(field, values):
                return _any_element(field, _one_of(values))
            case Range(field):
                return _any_element(field, _within(condition))
            case Exists(field):
                return "json_type(row.metadata, ?) IS NOT NULL", [_path(field)]
            case And(filters):
                return self.joined(" AND ", filters, depth)
            case Or(filters):
                return self.joined(" OR ", filters, depth)
            case Not(inner):
                sql, parameters = self.of(inner, depth - 1)
                return f"NOT {sql}", parameters
        raise InvalidFilter(f"{type(condition).__name__} is not a filter")

    def joined(self, word: str, filters: tuple[Filter, ...], depth: int) -> Sql:
        if not isinstance(filters, tuple | list) or not filters:
            raise InvalidFilter(f"{word.strip()} of nothing; expected at least one filter")
        parts = [self.of(part, depth - 1) for part in filters]
        return f"({word.join(sql for sql, _ in parts)})", [value for _, values in parts for value in values]


def _any_element(field: str, test: Sql) -> Sql:
    # json_each gives a scalar as one row with key NULL, a list's elements with integer keys, and an object's
    # members with text keys, which are other fields and must not match.
    sql = "EXISTS (SELECT 1 FROM json_each(row.metadata, ?) AS e WHERE typeof(e.key) <> 'text' AND "
    return f"{sql}({test[0]}))", [_path(field), *test[1]]


def _one_of(values: tuple[Scalar, ...]) -> Sql:
    if not isinstance(values, tuple | list) or not 0 < len(values) <= MAX_VALUES:
        raise InvalidFilter(f"expected 1 to {MAX_VALUES} values in a list, got {values!r:.80}")
    names = {True: "true", False: "false", None: "null"}
    tests, plain = [], []
    for value in values:
        if value is None or isinstance(value, bool):
            tests.append(f"e.type = '{names[value]}'")
        else:
            plain.append(_plain(value))
    if plain:
        marks = ", ".join("?" * len(plain))
        tests.append(f"e.type IN ('text', 'integer', 'real') AND e.atom IN ({marks})")
    return " OR ".join(tests), plain


def _within(bounds: Range) -> Sql:
    pairs = ((">", bounds.gt), (">=", bounds.gte), ("<", bounds.lt), ("<=", bounds.lte))
    given = [(sign, _plain(value)) for sign, value in pairs if value is not None]
    kinds = {isinstance(value, str) for _, value in given}
    if len(kinds) != 1:
        raise InvalidFilter(f"a range needs bounds of one kind, numbers or texts; got {bounds!r:.200}")
    # Without the type test any text would be "greater" than any number.
    types = "'text'" if kinds.pop() else "'integer', 'real'"
    tests = [f"e.type IN ({types})", *(f"e.atom {sign} ?" for sign, _ in given)]
    return " AND ".join(tests), [value for _, value in given]


def _plain(value: object) -> str | int | float:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    raise InvalidFilter(f"{value!r:.80} is no text and no finite number within 64 bits")


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidFilter(f"not valid Unicode: {value!r:.80}") from None
    if len(value) > MAX_TEXT:
        raise InvalidFilter(f"a text of {len(value)} characters, expected at most {MAX_TEXT}")
    return str(value)


def _path(field: str) -> str:
    """The JSON path of a dotted field; keys are quoted as JSON quotes them, so none can end it early."""
    if not isinstance(field, str) or not all(field.split(".")) or "\0" in field:
        raise InvalidFilter(f"field is {field!r:.80}, expected keys joined by dots, without NUL")
    return "$" + "".join(f".{json.dumps(key, ensure_ascii=False)}" for key in _text(field).split("."))


def from_json(value: object, depth: int = MAX_DEPTH) -> Filter:
    """The filter written as a parsed JSON object."""
    if depth <= 0:
        raise InvalidFilter(f"more than {MAX_DEPTH} levels in the filter")
    if not isinstance(value, Mapping) or not value:
        raise InvalidFilter(f"a filter is a JSON object with at least one key, got {value!r:.80}")
    parts = [_entry(key, operand, depth - 1) for key, operand in value.items()]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _entry(key: str, operand: object, depth: int) -> Filter:
    if key in ("$and", "$or"):
        if not isinstance(operand, list):
            raise InvalidFilter(f"{key} expects a list of filters, got {operand!r:.80}")
        parts = tuple(from_json(part, depth) for part in operand)
        return And(parts) if key == "$and" else Or(parts)
    if key == "$not":
        return Not(from_json(operand, depth))
    if not isinstance(key, str) or key.startswith("$"):
        raise InvalidFilter(f"unknown word {key!r:.80}, expected $and, $or, $not or a field")
    if not isinstance(operand, Mapping):
        return Equal(key, _scalar(operand))
    if not operand or not all(isinstance(word, str) for word in operand):
        raise InvalidFilter(f"no condition on field {key!r:.80}")
    bounds = {word[1:]: bound for word, bound in operand.items() if word in ("$gt", "$gte", "$lt", "$lte")}
    parts = tuple(
        _WORDS.get(word, _unknown)(key, item) for word, item in operand.items() if word[1:] not in bounds
    )
    if bounds:
        parts += (Range(key, **bounds),)
    return parts[0] if len(parts) == 1 else And(parts)


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise InvalidFilter(f"{value!r:.80} is no text, number, true, false or null")


def _values(value: object) -> tuple[Scalar, ...]:
    if not isinstance(value, list):
        raise InvalidFilter(f"expected a list of values, got {value!r:.80}")
    return tuple(_scalar(item) for item in value)


def _exists(field: str, value: object) -> Filter:
    if not isinstance(value, bool):
        raise InvalidFilter(f"$exists expects true or false, got {value!r:.80}")
    return Exists(field) if value else Not(Exists(field))


def _unknown(field: str, value: object) -> Filter:
    raise InvalidFilter(
        f"unknown condition on {field!r:.80}; expected {', '.join(_WORDS)}, $gt, $gte, $lt or $lte"
    )


_WORDS: dict[str, Callable[[str, object], Filter]] = {
    "$eq": lambda field, value: Equal(field, _scalar(value)),
    "$ne": lambda field, value: Not(Equal(field, _scalar(value))),
    "$in": lambda field, value: In(field, _values(value)),
    "$nin": lambda field, value: Not(In(field, _values(value))),
    "$exists": _exists,
}
