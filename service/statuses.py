"""The standard health service: what is served now, to whoever asks once or goes on watching.

Clients that watch leave a server alone as soon as it is NOT_SERVING: ours do, and every gRPC client with
a `healthCheckConfig`. A watcher is there for as long as its client is connected, so watchers are counted
apart from calls, and one that does not read keeps nobody else waiting.
"""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from .deadline import time_limit

WATCHERS = 4096  # at once
WRITE_SECONDS = 60.0  # for a watcher to take a change
Response = health_pb2.HealthCheckResponse


class Statuses(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """The status of every name, unknown until it is set."""

    def __init__(self, watchers: int = WATCHERS) -> None:
        self._of: dict[str, int] = {}
        self._changed = asyncio.Event()  # of this moment; each change has one of its own
        self._room, self._over = watchers, False

    def set(self, names: list[str], status: int) -> None:
        """Gives all these names the status, and tells who watches them."""
        self._of.update(dict.fromkeys(names, status))
        self._tell()

    def end(self) -> None:
        """Watchers have been told all there is, and go."""
        self._over = True
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(self, request: Any, context: Any) -> Any:
        if request.service not in self._of:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service of this name")
        return Response(status=self._of[request.service])

    async def Watch(self, request: Any, context: Any) -> None:
        if not self._room:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch this server's health")
        self._room -= 1
        try:
            told = None
            while not self._over:
                changed = self._changed
                status = self._of.get(request.service, Response.SERVICE_UNKNOWN)
                if status != told:
                    async with time_limit(WRITE_SECONDS):
                        await context.write(Response(status=status))
                    told = status
                await changed.wait()
        finally:
            self._room += 1
