"""Who may come in: bounds on calls, entries and bytes, kept at the door where refusing costs nothing."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from .errors import Overloaded

SHORTEST, LONGEST = 0.05, 10.0  # seconds after which coming back is worth a try
FORGET = 0.99  # of what earlier leavers say about the pace, at each that leaves
ENOUGH = 16  # leavers from whom the pace is known: the first ones of a server take longer


class Admission:
    """Counts what is `inside`. How many seconds one takes is learned from those who leave."""

    def __init__(
        self, limit: int, what: str = "entries", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit, self.inside, self.refused = limit, 0, 0
        self._what, self._clock, self._left = what, clock, clock()
        self._busy = self._done = 0.0

    def wait(self, ahead: int) -> float:
        """Seconds until so many have left, as far as is known."""
        return self._busy / self._done * ahead if self._done >= ENOUGH else 0.0

    def require(self, count: int, before: float = float("inf"), ahead: int | None = None) -> None:
        """`Overloaded` unless there is room for `count`, and reason to hope that they are done `before`.

        They come after so many that are `ahead`, by default after all that is inside.
        """
        wait = self.wait(self.inside if ahead is None else ahead)
        late = self._clock() + wait > before
        if late or self.inside + count > self.limit:
            self.refused += 1
            retry_after = min(max(SHORTEST, wait if late else self.wait(self.inside)), LONGEST)
            room = "the wait would be too long" if late else f"{self.limit} may be"
            raise Overloaded(f"{self.inside} {self._what} are under way and {room}", retry_after)

    @contextmanager
    def entering(self, count: int, before: float = float("inf"), ahead: int | None = None) -> Iterator[None]:
        """Room for `count` while inside the `with`; see `require`."""
        self.require(count, before, ahead)
        self.inside += count
        entered = self._clock()
        try:
            yield
        finally:
            self.inside -= count
            now = self._clock()  # while nobody is inside, time is nobody's
            self._busy = FORGET * self._busy + now - max(self._left, entered)
            self._done = FORGET * self._done + count
            self._left = now


class Gate:
    """Bounds a server as a whole: calls, a share of them for each service, and bytes of requests."""

    def __init__(self, calls: int, bytes: int, shares: Mapping[str, float]) -> None:
        self.calls, self.bytes = Admission(calls, "calls"), Admission(bytes, "bytes")
        self.services = {
            name: Admission(max(1, int(share * calls)), f"calls of {name}") for name, share in shares.items()
        }

    def require(self, service: str) -> None:
        """`Overloaded` if a call would find no room: asked before its request is even read."""
        self.calls.require(1)
        self.services[service].require(1)

    @contextmanager
    def entering(self, service: str, size: int) -> Iterator[None]:
        """Room for a call of that service whose request has `size` bytes."""
        with self.services[service].entering(1), self.calls.entering(1), self.bytes.entering(size):
            yield
