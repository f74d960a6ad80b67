"""How long what runs now may still take: set at the door, asked in the queues."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from .errors import DeadlineExpired

_END: ContextVar[float] = ContextVar("end", default=float("inf"))


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Cancels what runs inside after `seconds`, and raises `DeadlineExpired` then."""
    token = _END.set(min(_END.get(), time.monotonic() + seconds))
    try:
        async with asyncio.timeout(seconds) as scope:
            yield
    except TimeoutError as error:
        if scope.expired():
            raise DeadlineExpired(f"not done within {seconds:.3g} s") from error
        raise
    finally:
        _END.reset(token)


def end() -> float:
    """When it must be done, on the clock of `time.monotonic`; infinite if nobody said."""
    return _END.get()
