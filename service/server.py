"""A gRPC server around an engine."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import grpc
from grpc_reflection.v1alpha import reflection

from .access import Access
from .admission import Admission, Gate
from .engine import Engine
from .errors import CannotListen
from .health import Health
from .interceptor import Interceptor
from .methods import SECONDS, SERVICES, SHARE
from .metrics import Metrics
from .observing import Observer
from .originals import Files
from .servicer import add_to_server
from .settings import Limits, Settings
from .statuses import WATCHERS
from .tls import Certificates
from .tokens import Tokens
from .tracing import Traces
from .web import Backing, Web

MAX_CALLS = 256
OPTIONS = [
    ("grpc.max_receive_message_length", Limits().max_message_bytes),
    ("grpc.max_send_message_length", Limits().max_message_bytes),
    ("grpc.max_metadata_size", 8192),
    ("grpc.absolute_max_metadata_size", 16384),
    ("grpc.max_concurrent_streams", 128),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.max_connection_idle_ms", 900_000),
    ("grpc.max_connection_age_ms", 1_800_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.so_reuseport", 0),  # by default two servers share a port silently
]


class Server:
    """Takes the port when it is made, so that a port in use fails before a model is loaded for minutes."""

    def __init__(self, settings: Settings) -> None:
        _require_safe(settings)
        self._settings, self._gate = settings, Gate(MAX_CALLS, settings.max_bytes, SHARE)
        self._access = Access(None if settings.tokens is None else Tokens(settings.tokens))
        self._certificates = _certificates(settings)
        self._interceptor = Interceptor(self._gate, SECONDS, self._access)
        self._traces = Traces() if settings.traces else None
        self._server = grpc.aio.server(
            interceptors=[self._interceptor],
            options=OPTIONS,
            # Beyond it gRPC refuses without a word of advice. Who watches our health is no call to us.
            maximum_concurrent_rpcs=4 * MAX_CALLS + WATCHERS,
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        if problem := _problem(settings.host, settings.port):
            raise CannotListen(f"cannot listen on {host}:{settings.port}: {problem}")
        try:
            self.port: int = self._take(f"{host}:{settings.port}")
        except RuntimeError as error:
            raise CannotListen(
                f"cannot listen on {host}:{settings.port}: no address of this machine"
            ) from error
        self.address = f"{host}:{self.port}"
        loopback = is_loopback(settings.host)
        self.web = (
            None
            if settings.http_port is None
            else Web(settings, loopback=loopback, certificates=self._certificates)
        )
        self._health: Health | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, engine: Engine, pictures: Files | None = None) -> None:
        """Returns when the server answers and a canary has come through. `pictures` may be shown."""
        engine.originals.add(pictures or {})
        add_to_server(engine, self._server)
        self._tell(engine.metrics)
        observer = Observer(engine.metrics, self._traces, lines=self._settings.log_calls)
        self._interceptor.observer = observer
        names = [service.full_name for service in SERVICES]
        self._health = health = Health(engine, names)
        self._health.add_to_server(self._server)
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)
        await self._server.start()
        self._tasks.append(asyncio.create_task(engine.metrics.watch_lag()))
        if self.web is not None:
            await self.web.start(
                Backing(
                    engine,
                    self._gate,
                    self._access,
                    observer,
                    lambda: health.ready,
                    engine.metrics.text,
                )
            )
        await health.begin()
        self._tasks.append(asyncio.create_task(health.watch()))
        if self._certificates is not None:
            self._tasks.append(asyncio.create_task(self._certificates.watch()))

    def _take(self, address: str) -> int:
        if self._certificates is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, self._certificates.for_grpc())

    def _tell(self, metrics: Metrics) -> None:
        """Adds what the door knows to the metrics."""
        rooms = {"calls": self._gate.calls, "bytes": self._gate.bytes, **self._gate.services}
        for name, help, field in (
            ("polylens_admission_inside", "Calls and bytes inside, calls also by service.", "inside"),
            ("polylens_admission_limit", "How many may be inside.", "limit"),
            ("polylens_admission_refused_total", "Refused for want of room.", "refused"),
        ):
            read = partial(_field_of_each, rooms, field)
            metrics.add(name, help, ["room"], read)
        metrics.add(
            "polylens_wrong_tokens_total",
            "Tries without a valid token.",
            (),
            lambda: {(): self._access.failed},
        )
        metrics.add(
            "polylens_ready",
            "Whether canaries come through.",
            (),
            lambda: {(): bool(self._health and self._health.ready)},
        )

    async def drain(self) -> None:
        """Tells balancers to look elsewhere, gives them time to, refuses calls, finishes those under way."""
        if self._health is not None:
            self._health.drain()
            await asyncio.sleep(self._settings.drain_seconds)
            await self._interceptor.close()
            self._health.end()
        await self.stop(self._settings.grace_seconds)

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new calls; those under way are cancelled after the grace."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)
        await asyncio.gather(
            self._server.stop(grace_seconds), *([] if self.web is None else [self.web.stop(grace_seconds)])
        )


@asynccontextmanager
async def serving(
    engine: Engine, server: Server | None = None, pictures: Files | None = None
) -> AsyncIterator[Server]:
    """The server, by default one with the engine's settings; both open together and close together."""
    server = server or Server(engine.settings)
    try:
        async with engine:
            try:
                await server.start(engine, pictures)
                yield server
            finally:
                await server.drain()
    finally:
        await server.stop(0)  # gives the port back even when nothing was started


def _field_of_each(rooms: Mapping[str, Admission], field: str) -> dict[tuple[str, ...], float]:
    return {(name,): getattr(room, field) for name, room in rooms.items()}


def _require_safe(settings: Settings) -> None:
    """Refuses an address that strangers can reach, unless they are kept out or `insecure` lets them in."""
    if settings.insecure or is_loopback(settings.host):
        return
    lacking = []
    if settings.tls_cert is None:
        lacking.append("nothing is encrypted (--tls-cert, --tls-key)")
    if settings.tokens is None and settings.tls_client_ca is None:
        lacking.append("nobody is asked who they are (--tokens or --tls-client-ca)")
    if lacking:
        raise CannotListen(
            f"{settings.host} can be reached from other machines, and {' and '.join(lacking)}; "
            "add --insecure if that is meant"
        )


def _certificates(settings: Settings) -> Certificates | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def _problem(host: str, port: int) -> str:
    """Why the address cannot be taken, empty if it seems free: gRPC does not say, and complains on stderr."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return ""
    except OSError as error:
        known = {
            errno.EADDRINUSE: "the port is in use",
            errno.EACCES: "ports below 1024 are for administrators",
        }
        return known.get(error.errno or 0, "")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
