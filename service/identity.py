"""Who a client is, and which servers it trusts."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc

from ..errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How a client knows the server, and the server its caller.

    `ca` holds the certificates to trust instead of the system's. `certificate` and `key` are the caller's
    own, for servers that ask for one.
    """

    token: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of_environment(cls) -> Self:
        """From POLYLENS_TOKEN, POLYLENS_CA, POLYLENS_CERTIFICATE and POLYLENS_KEY, as far as they are set."""
        given = {name: os.environ.get(f"POLYLENS_{name.upper()}") for name in ("ca", "certificate", "key")}
        paths = {name: Path(value) for name, value in given.items() if value}
        return cls(token=os.environ.get("POLYLENS_TOKEN"), **paths)

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC needs to encrypt."""
        try:
            read = [
                None if path is None else path.read_bytes() for path in (self.ca, self.key, self.certificate)
            ]
        except OSError as error:
            raise InvalidInput(f"cannot read {error.filename}: {error.strerror}") from error
        return grpc.ssl_channel_credentials(*read)


ANYONE = Identity()
