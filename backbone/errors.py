"""Errors of the backbone's own."""

from ..errors import InvalidInput


class BadCheckpoint(InvalidInput):
    """A checkpoint that cannot be read or does not fit the model; the message lists every name at fault."""


class InvalidImage(InvalidInput):
    """An image that is unreadable, of a kind not accepted, or too large."""


def some(names: list[str], limit: int = 12) -> str:
    """The names in one line, the first `limit` of them when there are many."""
    more = f", ... and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
