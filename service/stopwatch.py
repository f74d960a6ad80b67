"""Where the time of one request goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .records import Done, Timings


class Stopwatch:
    """Begins when it is made; of a stage that several entries pass through the slowest counts."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._prepare = self._queue = self._encode = self._store = 0.0

    def note(self, done: Done[Any]) -> None:
        """Take over the stages that an entry went through in a batcher."""
        self._prepare = max(self._prepare, done.prepare)
        self._queue = max(self._queue, done.queue)
        self._encode = max(self._encode, done.run)

    @contextmanager
    def store(self) -> Iterator[None]:
        """Count what happens inside as work on a collection."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._store += time.perf_counter() - begun

    def read(self) -> Timings:
        """The stages so far, in milliseconds."""
        total = time.perf_counter() - self._begun
        stages = (self._prepare, self._queue, self._encode, self._store, total)
        return Timings(*(1000 * seconds for seconds in stages))
