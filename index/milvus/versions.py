"""Versions of items: microseconds since 1970, each used once, each above all before it."""

import threading
from collections.abc import Callable
from time import time_ns


class Versions:
    """Gives out versions. Only one process may do so, as only one may write where versions matter."""

    def __init__(self, newer: Callable[[int], int]) -> None:
        """`newer` counts the stored versions above one: this computer's clock may have been set back."""
        self._lock = threading.Lock()
        self._last, step = _now(), 1_000_000
        while newer(self._last):
            self._last, step = self._last + step, 2 * step

    def take(self, count: int) -> range:
        """So many versions, ascending."""
        with self._lock:
            start = max(self._last + 1, _now())
            self._last = start + count - 1
            return range(start, start + count)


def _now() -> int:
    return time_ns() // 1_000
