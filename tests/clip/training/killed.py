"""The end of a process in the middle of a training run, as an exception."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from polylens.clip.training.batches import Batch
from polylens.clip.training.run import Loop


class Killed(Exception):
    """Stands for the end of the process."""


@contextmanager
def killed_at(last: int) -> Iterator[None]:
    """What runs inside must die before step `last`, counted from 0."""
    original = Loop.step

    def step(self: Loop, number: int, batches: list[Batch]) -> dict[str, float]:
        if number == last:
            raise Killed
        return original(self, number, batches)

    with mock.patch.object(Loop, "step", step), pytest.raises(Killed):
        yield
