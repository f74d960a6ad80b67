"""What every request passes before a route works on it: host, token, admission, body, deadline, errors.

A route is bounded as the gRPC method that it stands for: the same scope of the token, the same share of the
server, the same time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..access import Access
from ..admission import Gate
from ..deadline import time_limit
from ..methods import METHODS, SCOPE, SECONDS
from ..observing import Observer
from ..settings import Limits
from .bodies import Body, announced, read_object
from .replies import error_reply, problem

Endpoint = Callable[[Request], Awaitable[Response]]
# A page of another site that has its own name point at this machine is told apart by that name.
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
READ_SECONDS = 30.0  # for a caller to send its body
GONE = 499  # as nginx has it; nobody reads the reply


@dataclass(frozen=True)
class Door:
    """Gate, access and observer are those of gRPC; `names` are the hosts it answers to, if not to all."""

    gate: Gate
    access: Access
    observer: Observer
    limits: Limits
    names: frozenset[str] | None = None

    def asked(self, method: str, work: Callable[[Request], Coroutine[Any, Any, Response]]) -> Endpoint:
        """An endpoint for requests without a body that matters."""

        async def endpoint(request: Request) -> Response:
            return await self._pass(request, method, lambda: self._in_time(request, method, work(request)))

        return endpoint

    def told(self, method: str, work: Callable[[Body], Coroutine[Any, Any, Response]]) -> Endpoint:
        """An endpoint for requests with a JSON object in their body, which the work is given."""

        async def read_and_work(request: Request) -> Response:
            with self.gate.bytes.entering(announced(request, self.limits)):
                async with time_limit(READ_SECONDS):
                    body = await read_object(request)
                return await self._in_time(request, method, work(body))

        async def endpoint(request: Request) -> Response:
            return await self._pass(request, method, lambda: read_and_work(request))

        return endpoint

    async def _pass(self, request: Request, method: str, work: Callable[[], Awaitable[Response]]) -> Response:
        """The reply, or the refusal of a caller who may not or cannot come in, before anything is read."""
        if self.names is not None and _name(request) not in self.names:
            return problem(421, "this server answers to no such host name", code="misdirected_request")
        with self.observer.call(f"HTTP {method}", request.headers) as seen:
            try:
                address = request.client.host if request.client else ""
                authorization = request.headers.get("authorization", "")
                seen.holder = self.access.check(authorization, address, SCOPE[method]).name
                self.gate.require(_service(method))
                return await work()
            except Exception as error:
                reply = error_reply(error)
                seen.code = str(reply.status_code)
                return reply

    async def _in_time(self, request: Request, method: str, work: Coroutine[Any, Any, Response]) -> Response:
        service = _service(method)
        try:
            with self.gate.entering(service, 0):
                async with time_limit(SECONDS[service]):
                    return await _while_wanted(request, work)
        finally:
            work.close()  # if it never began


def _service(method: str) -> str:
    return str(METHODS[method].containing_service.name)


async def _while_wanted(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """The reply; what the caller no longer waits for is cancelled."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return Response(status_code=GONE)
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    """Returns when the caller has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _name(request: Request) -> str:
    """The host's name as the caller wrote it, without the port."""
    host = request.headers.get("host", "")
    return host if host.endswith("]") else host.rpartition(":")[0] or host
