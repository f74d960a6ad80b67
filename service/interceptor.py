"""Wraps every method: checks the caller, bounds calls, bytes and time, turns errors into statuses.

Every call is taken as a stream, so that who may not or cannot come in is refused before a request is read.
Requests are parsed here rather than by gRPC, which answers UNKNOWN to bytes that are no message.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc

from ..errors import InvalidInput
from .access import Access
from .admission import Gate
from .deadline import time_limit
from .errors import DeadlineExpired, Overloaded
from .methods import SCOPE
from .status import to_status

OURS = "/polylens.v1."
OPEN = "/grpc.health.v1.Health/"  # probes have no tokens, and learn nothing but a status
READ_SECONDS = 30.0  # for a caller to send one request
IDLE_SECONDS = 300.0  # between two chunks of a stream
WRITE_SECONDS = 60.0  # for a caller to take one reply of a stream
Handler = Any  # grpc.RpcMethodHandler


class Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # no generic when it runs
    """Lets in whom `access` allows and `gate` has room for; `seconds` is what a call may take, by service."""

    def __init__(self, gate: Gate, seconds: Mapping[str, float], access: Access) -> None:
        self._gate, self._seconds, self._access = gate, seconds, access

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
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
            try:
                self._check(context, name)
                self._gate.require(service)
                data = await _next(chunks, READ_SECONDS)
                with self._gate.entering(service, len(data)):
                    request = _parsed(handler, data)
                    async with time_limit(min(self._seconds[service], context.time_remaining() or 1e9)):
                        return await handler.unary_unary(request, context)
            except StopAsyncIteration:
                await _abort(context, InvalidInput("the call came without a request"))
            except Exception as error:
                await _abort(context, error)

        return call

    def _stream(self, handler: Handler, service: str, name: str) -> Callable[..., Awaitable[None]]:
        async def call(chunks: AsyncIterator[bytes], context: Any) -> None:
            try:
                self._check(context, name)
                with self._gate.entering(service, 0):
                    requests = self._requests(handler, chunks)
                    async for reply in handler.stream_stream(requests, context):
                        async with time_limit(WRITE_SECONDS):
                            await context.write(reply)
            except Exception as error:
                await _abort(context, error)

        return call

    def _passed_on(self, handler: Handler) -> Callable[..., AsyncIterator[Any]]:
        async def call(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            try:
                self._check(context, "")
                async for reply in handler.stream_stream(requests, context):
                    yield reply
            except Exception as error:
                await _abort(context, error)

        return call

    def _check(self, context: Any, name: str) -> None:
        given = dict(context.invocation_metadata()).get("authorization", "")
        address = context.peer().rpartition(":")[0]  # without the port
        scope = SCOPE.get(name, "admin") if name else "read"
        self._access.check(given if isinstance(given, str) else "", address, scope)

    async def _requests(self, handler: Handler, chunks: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """The requests of a stream; each is held until the next is asked for, and waits for room."""
        while True:
            try:
                data = await _next(chunks, IDLE_SECONDS)
            except StopAsyncIteration:
                return
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


async def _next(chunks: AsyncIterator[bytes], seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await anext(aiter(chunks))
    except TimeoutError as error:
        raise DeadlineExpired(f"no request came within {seconds:g} s") from error


def _parsed(handler: Handler, data: bytes) -> Any:
    try:
        return handler.request_deserializer(data)
    except Exception as error:
        raise InvalidInput("the request is not a message of this method") from error


async def _abort(context: Any, error: Exception) -> NoReturn:
    code, message, trailers = to_status(error)
    await context.abort(code, message, trailers)
    raise error  # abort never returns; this tells the type checker
