"""Idempotency keys: a write that comes again with its key is answered again, not done again.

Key, digest and answer are stored in the transaction of the write itself, so that they are there exactly if
the write is. A write that was refused leaves no key.
"""

from dataclasses import dataclass
from time import monotonic, time
from typing import cast

import apsw

from .errors import IdempotencyConflict

KEPT = 24 * 3_600  # seconds, at least
ALLOWANCE = 24 * 3_600  # and so much longer, as the computer's clock may have jumped while nobody looked
PURGED = 1_000  # keys forgotten per write: bounds what one caller pays for


class Clock:
    """Whole seconds since 1970 that neither jump nor go back, whatever is done to the computer's clock."""

    def __init__(self, earliest: int) -> None:
        self._start = max(earliest, int(time())) - monotonic()

    def now(self) -> int:
        """The time by the computer's clock when this object was made, and what has passed since then."""
        return int(self._start + monotonic())


@dataclass(frozen=True, slots=True)
class Request:
    """A write's idempotency key, and the digest by which another write with the same key is known."""

    key: str
    digest: bytes


def latest(connection: apsw.Connection) -> int:
    """The time of the last write that is remembered, 0 if there is none."""
    ((expires,),) = connection.execute("SELECT max(expires) FROM request").fetchall()
    return 0 if expires is None else cast(int, expires) - KEPT - ALLOWANCE


def answer(connection: apsw.Connection, request: Request) -> int | None:
    """What was answered to this request, or None; `IdempotencyConflict` if its key was used for another."""
    found = connection.execute("SELECT digest, result FROM request WHERE key = ?", (request.key,)).fetchone()
    if found is None:
        return None
    before, result = cast(tuple[bytes, int], found)
    if before != request.digest:
        raise IdempotencyConflict(
            f"idempotency key {request.key!r:.80} was used for another write, expected a new key"
        )
    return result


def remember(connection: apsw.Connection, request: Request, result: int, now: int) -> None:
    """Stores the answer, and forgets some that were kept long enough; within the write's transaction."""
    connection.execute(
        "DELETE FROM request WHERE key IN"
        " (SELECT key FROM request WHERE expires <= ? ORDER BY expires LIMIT ?)",
        (now, PURGED),
    )
    connection.execute(
        "INSERT INTO request VALUES (?, ?, ?, ?)",
        (request.key, request.digest, result, now + KEPT + ALLOWANCE),
    )
