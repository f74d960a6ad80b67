"""What travels through a job: samples as they are read, as they are prepared, and those that are refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..batches import Ids, Pixels


@dataclass(frozen=True, slots=True)
class At:
    """A file that holds a part of a sample: a path, or a URL that fsspec opens."""

    location: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture, one text, or both, as they were found.

    `id` occurs once in the source, `path` is the picture's name in it, `about` are further columns or JSON.
    """

    id: str
    image: bytes | At | None = None
    text: str | bytes | At | None = None
    path: str | None = None
    about: Mapping[str, Any] | bytes | At = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reject:
    """A sample that was not embedded, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """What the metadata say about a sample that was embedded."""

    id: str
    path: str | None
    caption: str | None
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sample ready for the model: pixels_CHW, ids_L, or both."""

    row: Row
    pixels: Pixels | None
    ids: Ids | None
