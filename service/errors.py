"""Errors of the service. They know no transport: status.py maps every class to a status code.

PolylensError
├── InvalidInput
│   └── InvalidField      one field of a request is wrong
├── TooLarge              a request or one of its entries is over a limit
├── PointNotFound         there is no point of that id
├── NotOffered            the server's model cannot do this
├── Overloaded            too much work is waiting; try again later
├── Unauthenticated       the caller shows no valid token
├── Forbidden             the caller's token does not allow this
├── DeadlineExpired       the time allowed for the request is over
├── NotReady              the server is starting or stopping
├── CannotListen          the address cannot be served
├── RemoteError           what a server answered, on the client's side
└── BatchError            some entries of a batch failed, on the client's side
"""

from collections.abc import Sequence
from typing import Any

from ..errors import InvalidInput, PolylensError
from .records import Fault


class InvalidField(InvalidInput):
    """One field of a request is wrong; `field` is its path in the request, such as `points[3].vector`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class TooLarge(PolylensError):
    """A request or one of its entries is over a limit; the message gives the limit and what was got."""


class PointNotFound(PolylensError):
    """There is no point of that `id`."""

    def __init__(self, id: str) -> None:
        super().__init__(f"there is no point {id!r:.300}")
        self.id = id


class NotOffered(PolylensError):
    """The server's model cannot do this; the message says which can."""


class Overloaded(PolylensError):
    """Too much work is waiting; `retry_after` seconds from now there is likely room."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(f"{message}; try again in {retry_after:.2f} s")
        self.retry_after = retry_after


class Unauthenticated(PolylensError):
    """The caller shows no valid token."""


class Forbidden(PolylensError):
    """The caller's token does not allow this."""


class DeadlineExpired(PolylensError):
    """The time allowed for the request is over. A write may have been committed all the same."""


class NotReady(PolylensError):
    """The server is starting or stopping."""


class CannotListen(PolylensError):
    """The address cannot be served: in use, not ours, or open to strangers without leave."""


class RemoteError(PolylensError):
    """What a server answered instead of a reply: `code` is the name of a gRPC status code."""

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.retry_after = retry_after


class BatchError(PolylensError):
    """Some entries of a batch failed; `faults` says which, `result` holds what the others gave."""

    def __init__(self, faults: Sequence[Fault], total: int, result: Any) -> None:
        first = faults[0]
        super().__init__(f"{len(faults)} of {total} entries failed; entry {first.index}: {first.message}")
        self.faults = list(faults)
        self.result = result
