"""Errors of the collections; they know no transport.

InvalidInput                  the caller's data is wrong: nothing was written
├── InvalidName               a collection's name
├── InvalidId                 an item's id
├── InvalidVector             dtype, NaN, infinity, norm
│   └── DimensionMismatch     shape
├── InvalidMetadata           not a JSON object, or too large
└── InvalidFilter             not in the filter language, or beyond its limits
CollectionError               the collection cannot do it now
├── CollectionNotFound
├── CollectionExists
├── CollectionBusy            another process, or another object of this one, holds it
├── CollectionClosed
├── FingerprintMismatch       filled by another model
├── CorruptCollection         the stored bytes contradict themselves
├── UnsupportedFormat         written by a newer polylens, or SQLite is too old to be trusted
├── StorageFull               refused, the old state stays readable
└── StorageFailed             an I/O error: writes stop until the collection is opened again
"""

from ..errors import InvalidInput, PolylensError


class InvalidName(InvalidInput):
    """The collection's name is not allowed."""


class InvalidId(InvalidInput):
    """An item's id is not allowed."""


class InvalidVector(InvalidInput):
    """A vector is not a finite unit float vector."""


class DimensionMismatch(InvalidVector):
    """The array's shape is not the expected one."""


class InvalidMetadata(InvalidInput):
    """Metadata is not a JSON object within the limits."""


class InvalidFilter(InvalidInput):
    """The filter is not in the filter language, or beyond its limits."""


class CollectionError(PolylensError):
    """A collection cannot do what was asked, whatever the data."""


class CollectionNotFound(CollectionError):
    """There is no such collection."""


class CollectionExists(CollectionError):
    """There is such a collection already."""


class CollectionBusy(CollectionError):
    """Another process, or another object of this process, holds the collection."""


class CollectionClosed(CollectionError):
    """The collection was closed."""


class FingerprintMismatch(CollectionError):
    """The collection was filled by another model."""


class CorruptCollection(CollectionError):
    """The stored bytes contradict themselves."""


class UnsupportedFormat(CollectionError):
    """The stored format is newer than this code, or the SQLite library is too old to be trusted."""


class StorageFull(CollectionError):
    """There is no room to write: nothing of this write was kept, everything else stays readable."""


class StorageFailed(CollectionError):
    """An I/O error: what was acknowledged is kept, writes stop until the collection is opened again."""


def again(error: PolylensError) -> PolylensError:
    """The same error anew: an exception object raised twice, or in two threads, mixes up its tracebacks."""
    return type(error)(*error.args)
