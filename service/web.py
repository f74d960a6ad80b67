"""The HTTP side of a server; what it is made of is imported only when it is wanted."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import require
from .access import Access
from .admission import Gate
from .engine import Engine
from .observing import Observer
from .settings import Settings
from .tls import Certificates

if TYPE_CHECKING:
    from .http.listener import Listener


@dataclass(frozen=True)
class Backing:
    """What HTTP shares with gRPC: the engine, who may come in, whether canaries come through, the metrics."""

    engine: Engine
    gate: Gate
    access: Access
    observer: Observer
    ready: Callable[[], bool]
    metrics: Callable[[], bytes]


class Web:
    """Takes the port when it is made. `loopback` says that only this machine can reach it."""

    def __init__(
        self, settings: Settings, *, loopback: bool, certificates: Certificates | None = None
    ) -> None:
        require("starlette", "http")
        require("uvicorn", "http")
        self._settings, self._loopback = settings, loopback
        self._listener: Listener = _part("listener").Listener(settings.host, settings.http_port, certificates)
        self.url: str = self._listener.url
        self.address = self._listener.address

    async def start(self, backing: Backing) -> None:
        """Returns when requests are answered."""
        door = _part("door")
        names = door.LOOPBACK_NAMES if self._loopback else None
        parts = _part("app").Parts(
            backing.engine,
            door.Door(backing.gate, backing.access, backing.observer, backing.engine.limits, names),
            backing.ready,
            backing.metrics,
            _part("gallery").Gallery(backing.engine.originals),
        )
        await self._listener.start(_part("app").new_app(parts))

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new requests; those under way are cancelled after the grace."""
        await self._listener.stop(grace_seconds)


def _part(name: str) -> Any:
    return importlib.import_module(f".http.{name}", __package__)
