"""Weights that are computed from other weights when asked for, so that no model is in memory twice."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ..backbone.errors import BadCheckpoint
from ..backbone.weights import Weights


@dataclass(frozen=True)
class Made:
    """One tensor to be: its name, its shape, and how to make it. (A `Reader` of one name.)"""

    name: str
    size: tuple[int, ...]
    make: Callable[[], Tensor]

    def names(self) -> list[str]:
        return [self.name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.size

    def read(self, name: str) -> Tensor:
        return self.make()


def taken(weights: Weights, stored: str, name: str) -> Made:
    """The tensor `stored` of the weights, under another name."""
    return Made(name, weights.shape(stored), partial(weights.__getitem__, stored))


def gather(made: Iterable[Made]) -> Weights:
    """All of them as weights, or `BadCheckpoint` when two go by one name."""
    readers: dict[str, Made] = {}
    for one in made:
        if one.name in readers:
            raise BadCheckpoint(f"the checkpoint holds {one.name} twice, under two of its names")
        readers[one.name] = one
    return Weights(readers)
