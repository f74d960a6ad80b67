"""Bearer tokens: a file of their hashes with what each may do, and a bound on wrong tries.

A line of the file is `NAME SCOPE SHA256`, the last in 64 hexadecimal digits: who reads it learns no token.
"""

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidInput

SCOPES = ("read", "write", "admin")  # each contains those before it
LINE = re.compile(rf"(\S+)\s+({'|'.join(SCOPES)})\s+([0-9a-f]{{64}})")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a token belongs to, and what it allows."""

    name: str
    scope: str

    def may(self, scope: str) -> bool:
        """Whether the token allows this scope too."""
        return SCOPES.index(scope) <= SCOPES.index(self.scope)


def new_token(name: str, scope: str) -> tuple[str, str]:
    """A new token, and its line for the file."""
    if scope not in SCOPES or not re.fullmatch(r"[^\s#]\S*", name):
        raise InvalidInput(
            f"expected a name without spaces and one of {', '.join(SCOPES)}; got {name!r}, {scope!r}"
        )
    token = f"polylens_{secrets.token_urlsafe(32)}"  # 256 bits, so that a plain hash is enough
    return token, f"{name} {scope} {hashlib.sha256(token.encode()).hexdigest()}"


def parse(text: str) -> dict[bytes, Holder]:
    """The holder of each hash."""
    holders = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = LINE.fullmatch(line.strip())
        if found is None:  # the line itself may hold a token by mistake
            raise InvalidInput(f"line {number} of the tokens is not NAME {'|'.join(SCOPES)} SHA256")
        holders[bytes.fromhex(found[3])] = Holder(found[1], found[2])
    return holders


class Tokens:
    """The tokens of a file, which is read anew when it changes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock, self._looked = path, clock, clock()
        try:
            self._stamp = self._look()
            self._holders = parse(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the tokens cannot be read from {path}: {error}") from error
        if not self._holders:
            raise InvalidInput(f"{path} holds no token; `polylens token` makes one")

    def holder(self, token: bytes) -> Holder | None:
        """Who the token belongs to."""
        self._refresh()
        digest, found = hashlib.sha256(token).digest(), None
        for known, holder in self._holders.items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, digest):
                found = holder
        return found

    def _refresh(self) -> None:
        if self._clock() < self._looked + 1:
            return
        self._looked = self._clock()
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._holders = parse(self._path.read_text())
                self._stamp = stamp
        except (OSError, UnicodeDecodeError, InvalidInput) as error:
            logger.error("the tokens stay as they were: %s", error)

    def _look(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino


class Attempts:
    """Wrong tries by address: `burst` at once, then one every `seconds`; `most` addresses are kept."""

    def __init__(
        self,
        burst: int = 10,
        seconds: float = 3.0,
        most: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst, self._seconds, self._most, self._clock = burst, seconds, most, clock
        self._paid: dict[str, float] = {}  # by address, until when its tries are paid for; the oldest first

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 is now."""
        spare = (self._burst - 1) * self._seconds
        return max(0.0, self._paid.get(address, 0.0) - spare - self._clock())

    def failed(self, address: str) -> None:
        """Counts a wrong try."""
        paid = max(self._paid.pop(address, 0.0), self._clock())
        self._paid[address] = paid + self._seconds
        if len(self._paid) > self._most:
            del self._paid[next(iter(self._paid))]
