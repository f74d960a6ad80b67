"""Durable collections of unit vectors: numpy in, ids and scores out. Knows no model."""

from .collection import Collection
from .filters import And, Equal, Exists, Filter, In, Not, Or, Range, from_json
from .results import Hit, Hits, Record
from .store import Entry, Store

__all__ = [
    "And",
    "Collection",
    "Entry",
    "Equal",
    "Exists",
    "Filter",
    "Hit",
    "Hits",
    "In",
    "Not",
    "Or",
    "Range",
    "Record",
    "Store",
    "from_json",
]
