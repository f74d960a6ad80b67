"""Who may call what: the one place that gRPC and HTTP ask."""

import hashlib

from .errors import Forbidden, Overloaded, Unauthenticated
from .tokens import Attempts, Holder, Tokens

EVERYONE = Holder("anyone", "admin")
SCHEME = "bearer"
KNOWN = 4096


class Access:
    """Checks bearer tokens. Without `tokens`, whoever could connect may do everything."""

    def __init__(self, tokens: Tokens | None = None, attempts: Attempts | None = None) -> None:
        self._tokens, self._attempts, self.failed = tokens, attempts or Attempts(), 0
        # Who came with a right token before is not shut out by wrong tries of others at the same address.
        self._known: dict[tuple[str, bytes], None] = {}

    def check(self, authorization: str, address: str, scope: str) -> Holder:
        """The holder of the token in the header, if it allows the scope; refused otherwise."""
        if self._tokens is None:
            return EVERYONE
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode() if scheme.lower() == SCHEME else b""
        visitor = (address, hashlib.sha256(given).digest())
        wait = self._attempts.wait(address)
        if wait and visitor not in self._known:  # even a right guess is refused now
            raise Overloaded("too many wrong tokens came from this address", wait)
        holder = self._tokens.holder(given) if given else None
        if holder is None:
            self._known.pop(visitor, None)
            self._attempts.failed(address)
            self.failed += 1
            raise Unauthenticated("a valid bearer token is needed")
        self._remember(visitor)
        if not holder.may(scope):
            raise Forbidden(f"the token is for {holder.scope}, this needs {scope}")
        return holder

    def _remember(self, visitor: tuple[str, bytes]) -> None:
        self._known.pop(visitor, None)
        self._known[visitor] = None
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
