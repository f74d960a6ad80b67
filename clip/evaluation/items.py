"""The images of a data set, each with what is known of it; every process of a run reads its own share.

N counts images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...backbone.probe.samples import Samples
from ..images import ImageSource


class Items(Protocol):
    """Images in an order that is the same in every process."""

    def __len__(self) -> int: ...

    def rows(self, rank: int, size: int) -> Iterator[tuple[ImageSource | None, Any]]:
        """(image, target) of every row; the image only of rows rank, rank + size, ..., else None."""


@dataclass(frozen=True)
class Listed:
    """Images by path (or decoded), and their targets."""

    images: Sequence[ImageSource]
    targets: Sequence[Any]

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, rank: int, size: int) -> Iterator[tuple[ImageSource | None, Any]]:
        """See `Items`."""
        for row, target in enumerate(self.targets):
            yield self.images[row] if row % size == rank else None, target


@dataclass(frozen=True)
class Stored:
    """Images of class folders or of webdataset tars, read when their turn comes; targets are `targets`."""

    samples: Samples
    targets: Sequence[Any]

    def __len__(self) -> int:
        return len(self.samples)

    def rows(self, rank: int, size: int) -> Iterator[tuple[ImageSource | None, Any]]:
        """See `Items`."""
        store, places_N = self.samples.store, self.samples.places_N
        for row, target in enumerate(self.targets):
            yield store.read(int(places_N[row])) if row % size == rank else None, target


@dataclass(frozen=True)
class Indexed:
    """A data set of torch whose rows are (PIL image, class), in random access or not."""

    source: Any

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, rank: int, size: int) -> Iterator[tuple[ImageSource | None, Any]]:
        """See `Items`."""
        random_access = hasattr(self.source, "__getitem__") and hasattr(self.source, "__len__")
        everything = map(self.source.__getitem__, range(len(self.source))) if random_access else self.source
        for row, (image, target) in enumerate(everything):
            yield image if row % size == rank else None, target
