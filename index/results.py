"""What a collection gives back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Metadata = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hit:
    """One found item; `score` is the cosine in [-1, 1], or the inner product."""

    id: str
    score: float
    metadata: Metadata


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The items found for one query, best first; equal scores in the order of writing."""

    ids: list[str]
    scores: NDArray[np.float32]
    metadata: list[Metadata]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rank: int) -> Hit:
        return Hit(self.ids[rank], float(self.scores[rank]), self.metadata[rank])

    def __iter__(self) -> Iterator[Hit]:
        return (self[rank] for rank in range(len(self)))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two items that are nearly the same; `id_a` was written before `id_b`, `score` is their cosine."""

    id_a: str
    id_b: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One stored item. `version` grows with every write to the collection and is never used twice."""

    id: str
    version: int
    metadata: Metadata
    vector: NDArray[np.float32] | None
