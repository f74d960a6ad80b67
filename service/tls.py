"""Certificates of the server and of its callers, read anew when their files change."""

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from ..errors import InvalidInput

logger = logging.getLogger(__name__)


class Certificates:
    """A certificate chain and its key; with `client_ca`, callers must show a certificate that it signed."""

    def __init__(
        self,
        chain: Path,
        key: Path,
        client_ca: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain, self._key, self._client_ca, self._clock = chain, key, client_ca, clock
        self._lock, self._looked, self._stamp = threading.Lock(), clock(), self._look()
        self._contexts: list[ssl.SSLContext] = []
        self._check()

    def for_grpc(self) -> grpc.ServerCredentials:
        """What a gRPC server needs; asked again for each connection."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._changed, require_client_authentication=self._client_ca is not None
        )

    def for_http(self) -> ssl.SSLContext:
        """What an HTTP server needs; `refresh` keeps it up to date."""
        context = self._context()
        self._contexts.append(context)
        return context

    def refresh(self) -> bool:
        """Whether the files had changed; broken ones are left aside, and what was read before stays."""
        with self._lock:
            if self._clock() < self._looked + 1:
                return False
            self._looked = self._clock()
            try:
                stamp = self._look()
                if stamp == self._stamp:
                    return False
                self._check()
                for context in self._contexts:
                    context.load_cert_chain(self._chain, self._key)
            except (InvalidInput, OSError) as error:
                logger.error("the certificates stay as they were: %s", error)
                return False
            self._stamp = stamp
            logger.info("the certificates were read anew")
            return True

    async def watch(self, every: float = 5.0) -> None:
        """Refreshes until it is cancelled: gRPC asks by itself, HTTP does not."""
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(self.refresh)

    def _changed(self) -> Any:
        return self._configuration() if self.refresh() else None

    def _configuration(self) -> Any:
        authority = None if self._client_ca is None else self._client_ca.read_bytes()
        pair = (self._key.read_bytes(), self._chain.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], authority)

    def _check(self) -> None:
        """Refuses files that do not belong together: gRPC would only say so to each caller."""
        self._context()

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._chain, self._key)
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(path) for path in self._files())
            raise InvalidInput(f"the certificates cannot be used ({error}); looked at {files}") from error
        return context

    def _files(self) -> list[Path]:
        return [path for path in (self._chain, self._key, self._client_ca) if path is not None]

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        try:
            found = [path.stat() for path in self._files()]
        except OSError as error:
            raise InvalidInput(f"the certificates cannot be read: {error}") from error
        return tuple((status.st_mtime_ns, status.st_size, status.st_ino) for status in found)
