"""Says that the server is ready only while a canary comes through the queues that real requests take."""

import asyncio
import logging
import time

import grpc
from grpc_health.v1 import health_pb2_grpc

from .deadline import time_limit
from .engine import Engine
from .errors import Overloaded
from .statuses import Response, Statuses

logger = logging.getLogger(__name__)


class Health:
    """The standard health service for `names`; everything is NOT_SERVING until a canary came through."""

    def __init__(self, engine: Engine, names: list[str], every: float = 5.0, patience: float = 10.0) -> None:
        self._engine, self._names = engine, ["", *names]  # "" is the server as a whole
        self._every, self._patience = every, patience
        self.ready = self._draining = False
        self._statuses = Statuses()

    def add_to_server(self, server: grpc.aio.Server) -> None:
        """Answers health checks on the server, with NOT_SERVING for now."""
        self._set(ready=False)
        health_pb2_grpc.add_HealthServicer_to_server(self._statuses, server)

    async def begin(self) -> None:
        """Warms the model up, sends the first canary, and waits for both as long as it takes."""
        await self._engine.warm_up()
        begun = time.monotonic()
        await self._engine.canary()
        self._patience = max(self._patience, 5 * (time.monotonic() - begun))
        self._set(ready=True)

    async def watch(self) -> None:
        """Sends canaries again and again; NOT_SERVING while they do not come through in time."""
        while True:
            await asyncio.sleep(self._every)
            try:
                async with time_limit(self._patience):
                    await self._engine.canary()
                self._set(ready=True)
            except Overloaded:
                pass  # busy is not sick: whoever finds no room is told so, and when to come back
            except Exception:
                logger.exception("the canary did not come through")
                self._set(ready=False)

    def drain(self) -> None:
        """NOT_SERVING from now on."""
        self._draining = True
        self._set(ready=False)

    def end(self) -> None:
        """Lets go of who still watches."""
        self._statuses.end()

    def _set(self, *, ready: bool) -> None:
        self.ready = ready and not self._draining
        self._statuses.set(self._names, Response.SERVING if self.ready else Response.NOT_SERVING)
