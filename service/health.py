"""Says that the server is ready only while a canary comes through the queues that real requests take."""

import asyncio
import logging
import time

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from .deadline import time_limit
from .engine import Engine
from .errors import Overloaded

logger = logging.getLogger(__name__)
Status = health_pb2.HealthCheckResponse


class Health:
    """The standard health service for `names`; everything is NOT_SERVING until a canary came through."""

    def __init__(self, engine: Engine, names: list[str], every: float = 5.0, patience: float = 10.0) -> None:
        self._engine, self._names = engine, ["", *names]  # "" is the server as a whole
        self._every, self._patience = every, patience
        self.ready = False
        self._servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # chosen at import

    async def add_to_server(self, server: grpc.aio.Server) -> None:
        """Answers health checks on the server, with NOT_SERVING for now."""
        await self._set(Status.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def begin(self) -> None:
        """Warms the model up, sends the first canary, and waits for both as long as it takes."""
        await self._engine.warm_up()
        begun = time.monotonic()
        await self._engine.canary()
        self._patience = max(self._patience, 5 * (time.monotonic() - begun))
        await self._set(Status.SERVING)

    async def watch(self) -> None:
        """Sends canaries again and again; NOT_SERVING while they do not come through in time."""
        while True:
            await asyncio.sleep(self._every)
            try:
                async with time_limit(self._patience):
                    await self._engine.canary()
                await self._set(Status.SERVING)
            except Overloaded:
                pass  # busy is not sick: whoever finds no room is told so, and when to come back
            except Exception:
                logger.exception("the canary did not come through")
                await self._set(Status.NOT_SERVING)

    async def drain(self) -> None:
        """NOT_SERVING from now on."""
        self.ready = False
        await self._servicer.enter_graceful_shutdown()

    async def _set(self, status: int) -> None:
        self.ready = status == Status.SERVING
        for name in self._names:
            await self._servicer.set(name, status)
