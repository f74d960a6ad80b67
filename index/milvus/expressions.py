"""Our filters as expressions of Milvus over `tokens` and `ordered`, see tokens.py.

Negation is pushed down to the tokens, so that no comparison is ever negated: whether a comparison with a
missing key is false or unknown then makes no difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import Unsupported
from ..filters import And, Equal, Exists, Filter, In, Not, Or, Range, to_sql
from . import tokens


@dataclass(slots=True)
class Expression:
    """A boolean expression, and the tokens of items for which it would be wrong."""

    text: str = ""
    doubtful: dict[str, str] = field(default_factory=dict)  # token -> field


def translate(filter: Filter) -> Expression:
    """The expression of a filter; `InvalidFilter` for what is no filter, as everywhere."""
    to_sql(filter)  # checks everything
    expression = Expression()
    expression.text = _of(filter, True, expression.doubtful)
    return expression


def _of(condition: Filter, wanted: bool, doubtful: dict[str, str]) -> str:
    """The expression for the condition, or for its opposite."""
    match condition:
        case Equal(name, value):
            return _holds([tokens.equals(_path(name), value)], wanted)
        case In(name, values):
            return _holds([tokens.equals(_path(name), value) for value in values], wanted)
        case Exists(name):
            return _holds([tokens.exists(_path(name))], wanted)
        case Range(name):
            return _within(condition, _path(name), wanted, doubtful)
        case Not(inner):
            return _of(inner, not wanted, doubtful)
        case And(parts) | Or(parts):
            word = "and" if isinstance(condition, And) == wanted else "or"
            return _joined(word, [_of(part, wanted, doubtful) for part in parts])


def _path(name: str) -> tokens.Path:
    return tuple(name.split("."))


def _holds(any_of: Sequence[str], wanted: bool) -> str:
    listed = ", ".join(f'"{one}"' for one in dict.fromkeys(any_of))
    found = f"array_contains_any(tokens, [{listed}])"
    return found if wanted else f"(not {found})"


def _joined(word: str, parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({f' {word} '.join(parts)})"


def _within(bounds: Range, path: tokens.Path, wanted: bool, doubtful: dict[str, str]) -> str:
    """Whether one of the field's ranked values is within the bounds, or none is."""
    pairs = ((">", bounds.gt), (">=", bounds.gte), ("<", bounds.lt), ("<=", bounds.lte))
    given = [(sign, value) for sign, value in pairs if value is not None]
    kind = tokens.kind_of(given[0][1])
    if any(isinstance(value, str) and len(value.encode()) > tokens.TEXT_BYTES for _, value in given):
        raise Unsupported(
            f"a range over texts in Milvus compares up to {tokens.TEXT_BYTES} bytes, got a longer bound"
        )
    doubtful[tokens.crowded(path, kind)] = bounds.field
    opposite = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
    ranks = []
    for rank in range(tokens.RANGED):
        key = tokens.ranked(path, kind, rank)
        tests = [
            f'ordered["{key}"] {sign if wanted else opposite[sign]} "{tokens.encoded(value)}"'
            for sign, value in given
        ]
        ranks.append(_joined("and" if wanted else "or", [_holds([key], wanted), *tests]))
    return _joined("or" if wanted else "and", ranks)
