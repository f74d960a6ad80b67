"""Wraps every method: checks the caller, bounds calls, bytes and time, turns errors into statuses.

Every call is taken as a stream, so that who may not or cannot come in is refused before a request is read.
Requests are parsed here rather than by gRPC, which answers UNKNOWN to bytes that are no message.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc

from ..errors import InvalidInput
from .access import Access
from .admission import Gate
from .deadline import time_limit
from .errors import DeadlineExpired, NotReady, Overloaded
from .methods import SCOPE
from .observing import Call, Observer
from .status import to_status

OURS = "/polylens.v1."
OPEN = "/grpc.health.v1.Health/"  # probes have no tokens, and learn nothing but a status
READ_SECONDS = 30.0  # for a caller to send one request
IDLE_SECONDS = 300.0  # between two chunks of a stream
WRITE_SECONDS = 60.0  # for a caller to take one reply of a stream
QUIET = 5  # looks in a row, 10 ms apart, that see no new call, until the server may stop
CLOSING_SECONDS = 2.0  # for callers to become quiet
CLOSED = "the server is stopping and takes no more calls"
Handler = Any  # grpc.RpcMethodHandler


class Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # no generic when it runs
    """Lets in whom `access` allows and `gate` has room for; `seconds` is what a call may take, by service."""

    def __init__(self, gate: Gate, seconds: Mapping[str, float], access: Access) -> None:
        self._gate, self._seconds, self._access = gate, seconds, access
        self.observer: Observer | None = None  # there is one before the server starts
        self._closed, self._calls = False, 0

    async def close(self) -> None:
        """Refuses every new call from now on, and returns once there are none, or after a while.

        gRPC cancels what it has taken in and not yet handed over when its server stops (grpc/grpc#41785). A
        caller cannot tell this from a call broken off half-way, so nothing should be on its way in by then.
        """
        self._closed = True
        end, quiet = time.monotonic() + CLOSING_SECONDS, 0
        while quiet < QUIET and time.monotonic() < end:
            seen = self._calls
            await asyncio.sleep(0.01)  # by turns, for a process that is held up sees no calls either
            quiet = quiet + 1 if self._calls == seen else 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        self._calls += 1
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(OPEN):
            return handler
        if not method.startswith(OURS):  # reflection
            return grpc.stream_stream_rpc_method_handler(
                self._passed_on(handler), handler.request_deserializer, handler.response_serializer
            )
        service, _, name = method.removeprefix(OURS).partition("/")
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(handler, service, name), response_serializer=handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(
            self._unary(handler, service, name), response_serializer=handler.response_serializer
        )

    def _unary(self, handler: Handler, service: str, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(chunks: AsyncIterator[bytes], context: Any) -> Any:
            async with self._observed(name, context) as seen:
                self._gate.require(service)
                data = await _next(chunks, READ_SECONDS)
                if data is None:
                    raise InvalidInput("the call came without a request")
                seen.size = len(data)
                with self._gate.entering(service, len(data)):
                    request = _parsed(handler, data)
                    async with time_limit(min(self._seconds[service], context.time_remaining() or 1e9)):
                        reply = await handler.unary_unary(request, context)
                seen.timed(reply)
                return reply

        return call

    def _stream(self, handler: Handler, service: str, name: str) -> Callable[..., Awaitable[None]]:
        async def call(chunks: AsyncIterator[bytes], context: Any) -> None:
            async with self._observed(name, context) as seen:
                with self._gate.entering(service, 0):
                    async for reply in handler.stream_stream(self._requests(handler, chunks, seen), context):
                        seen.timed(reply)
                        async with time_limit(WRITE_SECONDS):
                            await context.write(reply)

        return call

    def _passed_on(self, handler: Handler) -> Callable[..., Awaitable[None]]:
        async def call(requests: AsyncIterator[Any], context: Any) -> None:
            async with self._observed("ServerReflection", context):
                async for reply in handler.stream_stream(requests, context):
                    await context.write(reply)

        return call

    @asynccontextmanager
    async def _observed(self, name: str, context: Any) -> AsyncIterator[Call]:
        """A call whose caller may make it; what goes wrong inside becomes its status."""
        if self.observer is None:
            raise RuntimeError("the server was started without an observer")
        headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        with self.observer.call(name, headers) as seen:
            try:
                if self._closed:
                    raise NotReady(CLOSED)
                address = context.peer().rpartition(":")[0]  # without the port
                scope = SCOPE.get(name, "admin")
                seen.holder = self._access.check(headers.get("authorization", ""), address, scope).name
                yield seen
            except Exception as error:
                code, message, trailers = to_status(error)
                seen.code = code.name
                await context.abort(code, message, trailers)

    async def _requests(
        self, handler: Handler, chunks: AsyncIterator[bytes], seen: Call
    ) -> AsyncIterator[Any]:
        """The requests of a stream; each is held until the next is asked for, and waits for room."""
        while True:
            data = await _next(chunks, IDLE_SECONDS)
            if data is None:
                return
            seen.size += len(data)
            await self._room(len(data))
            with self._gate.bytes.entering(len(data)):
                yield _parsed(handler, data)

    async def _room(self, size: int) -> None:
        async with time_limit(IDLE_SECONDS):
            while True:
                try:
                    return self._gate.bytes.require(size)
                except Overloaded as error:  # a stream slows down where a single call is refused
                    await asyncio.sleep(min(error.retry_after, 0.5))


async def _next(chunks: AsyncIterator[bytes], seconds: float) -> bytes | None:
    """The next request; None after the last."""
    try:
        async with asyncio.timeout(seconds):
            return await anext(aiter(chunks), None)
    except TimeoutError as error:
        raise DeadlineExpired(f"no request came within {seconds:g} s") from error


def _parsed(handler: Handler, data: bytes) -> Any:
    try:
        return handler.request_deserializer(data)
    except Exception as error:
        raise InvalidInput("the request is not a message of this method") from error
