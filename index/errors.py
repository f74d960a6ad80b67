"""Errors of the collections; they know no transport.

InvalidInput                  the caller's data is wrong: nothing was written
├── InvalidName               a collection's name
├── InvalidId                 an item's id
├── InvalidVector             dtype, NaN, infinity, norm
│   └── DimensionMismatch     shape
├── InvalidMetadata           not a JSON object, or too large
├── InvalidFilter             not in the filter language, or beyond its limits
└── IdempotencyConflict       the key was used for another write
CollectionError               the collection cannot do it now
├── CollectionNotFound
├── CollectionExists
├── CollectionBusy            another process, or another object of this one, holds it
├── CollectionClosed
├── CollectionAliased         an alias points to it, or it is an alias itself
├── FingerprintMismatch       filled by another model
├── VersionConflict           an item has not the version the caller expects: nothing of the write was kept
├── CorruptCollection         the stored bytes contradict themselves
├── CorruptSnapshot           not a snapshot of ours, or damaged: nothing was restored
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


class IdempotencyConflict(InvalidInput):
    """The idempotency key was used for another write."""


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


class CollectionAliased(CollectionError):
    """An alias points to the collection, or the name is an alias, where a collection must be named."""


class FingerprintMismatch(CollectionError):
    """The collection was filled by another model."""


class VersionConflict(CollectionError):
    """An item has not the version the caller expects; 0 stands for no item. Nothing of the write was kept."""

    def __init__(self, id: str, current: int, expected: int) -> None:
        super().__init__(id, current, expected)
        self.id, self.current, self.expected = id, current, expected

    def __str__(self) -> str:
        found = f"has version {self.current}" if self.current else "is not there"
        return f"item {self.id!r} {found}, expected {f'version {self.expected}' if self.expected else 'none'}"


class CorruptCollection(CollectionError):
    """The stored bytes contradict themselves."""


class CorruptSnapshot(CollectionError):
    """The archive is no snapshot of a collection, or it is damaged: nothing was restored."""


class UnsupportedFormat(CollectionError):
    """The stored format is newer than this code, or the SQLite library is too old to be trusted."""


class StorageFull(CollectionError):
    """There is no room to write: nothing of this write was kept, everything else stays readable."""


class StorageFailed(CollectionError):
    """An I/O error: what was acknowledged is kept, writes stop until the collection is opened again."""


class Unsupported(CollectionError):
    """The vector database that holds the collection cannot do this."""


class Unreachable(CollectionError):
    """The vector database does not answer; whether a write that was under way was kept is not known."""


def again(error: PolylensError) -> PolylensError:
    """The same error anew: an exception object raised twice, or in two threads, mixes up its tracebacks."""
    return type(error)(*error.args)
