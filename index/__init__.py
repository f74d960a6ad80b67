"""Durable collections of unit vectors: numpy in, ids and scores out. Knows no model."""

from .bulk import Bulk
from .collection import Collection
from .filters import And, Equal, Exists, Filter, In, Not, Or, Range, from_json
from .interface import AnyCollection, AnyStore, Entry
from .opening import open_store
from .plan import Effort
from .results import Hit, Hits, Pair, Record
from .snapshot import Snapshot, restore
from .store import Store
from .verify import Finding, Report, verify

__all__ = [
    "And",
    "Bulk",
    "AnyCollection",
    "AnyStore",
    "Collection",
    "Effort",
    "Entry",
    "Equal",
    "Exists",
    "Filter",
    "Finding",
    "Hit",
    "Hits",
    "In",
    "Not",
    "Or",
    "Pair",
    "Range",
    "Record",
    "Report",
    "Snapshot",
    "Store",
    "from_json",
    "open_store",
    "restore",
    "verify",
]
