"""Who may come in: a bound on the entries inside, kept at the door where refusing costs nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import Overloaded

SHORTEST, LONGEST = 0.05, 10.0  # seconds after which coming back is worth a try


class Admission:
    """Counts the entries `inside`; `pace` is how many seconds one takes, as far as is known."""

    def __init__(self, limit: int) -> None:
        self.limit, self.inside, self.pace = limit, 0, 0.01

    @contextmanager
    def entering(self, count: int) -> Iterator[None]:
        """Room for `count` entries while inside the `with`; `Overloaded` unless there is room for all."""
        if self.inside + count > self.limit:
            retry_after = min(max(SHORTEST, self.pace * self.inside), LONGEST)
            raise Overloaded(self.inside, self.limit, retry_after)
        self.inside += count
        try:
            yield
        finally:
            self.inside -= count
