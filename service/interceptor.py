"""Wraps every method of ours: bounds calls and their time, reads requests, turns errors into statuses.

Requests are parsed here rather than by gRPC, which answers UNKNOWN to bytes that are no message.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc

from ..errors import InvalidInput
from .admission import Admission
from .errors import DeadlineExpired
from .status import to_status

OURS = "/polylens.v1."
Handler = Any  # grpc.RpcMethodHandler


class Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # no generic when it runs
    """Lets `calls` be under way at a time; `seconds` is what a call of each service may take at most."""

    def __init__(self, calls: int, seconds: Mapping[str, float]) -> None:
        self._admission, self._seconds = Admission(calls), seconds

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(OURS):
            return handler
        seconds = self._seconds[method.removeprefix(OURS).split("/")[0]]
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                _stream(handler, self._admission), response_serializer=handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            _unary(handler, self._admission, seconds), response_serializer=handler.response_serializer
        )


def _unary(handler: Handler, admission: Admission, seconds: float) -> Callable[..., Awaitable[Any]]:
    async def call(data: bytes, context: Any) -> Any:
        try:
            with admission.entering(1):
                request = _parsed(handler, data)
                async with time_limit(seconds):
                    return await handler.unary_unary(request, context)
        except Exception as error:
            await _abort(context, error)

    return call


def _stream(handler: Handler, admission: Admission) -> Callable[..., AsyncIterator[Any]]:
    async def call(chunks: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        requests = (_parsed(handler, data) async for data in chunks)
        try:
            with admission.entering(1):
                async for reply in handler.stream_stream(requests, context):
                    yield reply
        except Exception as error:
            await _abort(context, error)

    return call


def _parsed(handler: Handler, data: bytes) -> Any:
    try:
        return handler.request_deserializer(data)
    except Exception as error:
        raise InvalidInput("the request is not a message of this method") from error


async def _abort(context: Any, error: Exception) -> NoReturn:
    code, message, trailers = to_status(error)
    await context.abort(code, message, trailers)
    raise error  # abort never returns; this tells the type checker


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Cancels what runs inside after `seconds`, and raises `DeadlineExpired` then."""
    try:
        async with asyncio.timeout(seconds) as scope:
            yield
    except TimeoutError as error:
        if scope.expired():
            raise DeadlineExpired(f"not done within {seconds:g} s") from error
        raise
