"""Where a Milvus store is, as a URL says it.

    milvus://host:19530/photos        a server; `photos` keeps its collections apart from others'
    milvus+tls://host/photos          the same, encrypted
    milvus+lite:./photos.db           Milvus Lite, inside this process, in the folder photos.db

With `?writers=many` several processes may write: then what needs a look before the write is refused.
"""

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from ...errors import InvalidInput

SCHEMES = ("milvus", "milvus+tls", "milvus+lite")
TOKEN = "MILVUS_TOKEN"  # environment variable: "user:password" or an API key; never in the URL
PORT = 19530
NAMESPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")
EXPECTED = "milvus://host:port/name, milvus+tls://host:port/name or milvus+lite:folder.db"


@dataclass(frozen=True, slots=True)
class Address:
    """What to connect to, and the name under which the store's collections are kept there."""

    uri: str  # as pymilvus takes it
    namespace: str = "default"
    many_writers: bool = False
    lite: bool = False

    @property
    def token(self) -> str:
        """The secret to show to the server, empty for none."""
        return "" if self.lite else os.environ.get(TOKEN, "")

    def __str__(self) -> str:
        return f"{self.uri}/{self.namespace}"


def is_address(place: str) -> bool:
    """Whether the text names a Milvus store rather than a folder."""
    return place.partition(":")[0] in SCHEMES and ":" in place


def parse(place: str) -> Address:
    """The address that a URL stands for; `InvalidInput` says what is wrong with it."""
    parts = urlsplit(place)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    writers = options.pop("writers", "one")
    if options or parts.fragment or writers not in ("one", "many"):
        raise InvalidInput(f"{parts.scheme} URL has options it cannot have, expected ?writers=one or many")
    if parts.scheme == "milvus+lite":
        path = parts.netloc + parts.path
        if not path.endswith(".db"):
            raise InvalidInput(f"Milvus Lite keeps its data in a folder named *.db, got {path!r:.200}")
        return Address(path, many_writers=writers == "many", lite=True)
    return _server(place, parts.scheme == "milvus+tls", writers == "many")


def _server(place: str, tls: bool, many_writers: bool) -> Address:
    parts = urlsplit(place)
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(f"a URL is no place for a password; set {TOKEN}=user:password instead")
    try:
        host, port = parts.hostname, parts.port or PORT
    except ValueError as error:
        raise InvalidInput(f"{error}, expected {EXPECTED}") from None
    namespace = parts.path.strip("/") or "default"
    if not host or not NAMESPACE.fullmatch(namespace):
        raise InvalidInput(f"expected {EXPECTED}, with a name of 1 to 16 of a-z 0-9 -; got {place!r:.200}")
    bracketed = f"[{host}]" if ":" in host else host
    return Address(f"http{'s' if tls else ''}://{bracketed}:{port}", namespace, many_writers)
