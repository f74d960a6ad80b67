"""Listens for HTTP in the event loop that serves gRPC."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import CannotListen
from ..tls import Certificates

HEADER_SECONDS = 10  # for a caller to say what it wants
MAX_CONNECTIONS = 1024
MAX_HEADERS = 32 << 10  # bytes


class Listener:
    """Takes the port when it is made, so that a port in use fails before a model is loaded for minutes."""

    def __init__(self, host: str, port: int, certificates: Certificates | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        name = f"[{host}]" if ":" in host else host
        try:
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            raise CannotListen(f"cannot listen on {name}:{port}: {error.strerror}") from error
        self.port: int = self._socket.getsockname()[1]
        self.address = f"{name}:{self.port}"
        self.url = f"http{'s' if certificates else ''}://{self.address}/"
        self._certificates = certificates
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, app: ASGIApp) -> None:
        """Returns when requests are answered."""
        config = uvicorn.Config(
            app,
            loop="none",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # it warns of every request that is no HTTP, which strangers can send at will
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEADERS,
        )
        if self._certificates is not None:
            config.load()
            config.ssl = self._certificates.for_http()
            config.callback_notify, config.timeout_notify = self._refresh, 1
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.01)
        if self._task.done():
            self._task.result()

    async def _refresh(self) -> None:
        if self._certificates is not None:
            self._certificates.refresh()

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new requests; those under way are cancelled after the grace."""
        if self._server is None or self._task is None:
            self._socket.close()
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self._server.should_exit = True
        await self._task


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the whole server's business


class _Protocol(H11Protocol):
    """Hangs up on those who connect and do not come to the point."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        if self.cycle is None:
            self.transport.close()
