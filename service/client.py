"""Clients of a polylens server, for ordinary and for asynchronous code.

client = Client("localhost:51000")
for hit in client.search("a red apple", k=10):
    print(hit.id, hit.score, hit.metadata)
"""

import asyncio
import functools
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from . import calls, describe_calls, segment_calls
from .calls import Call
from .errors import RemoteError
from .identity import ANYONE, Identity
from .methods import METHODS, SECONDS, only_reads, path
from .settings import Limits

P = ParamSpec("P")
Result = TypeVar("Result")
TARGET = "localhost:51000"
UNACKNOWLEDGED = 4  # chunks of a stream that may be under way at once
# After this a long upload goes on in a new stream: servers end old connections and what is left on them.
STREAM_SECONDS = 30.0
# gRPC's whole message, with the code of the same name, of a call that a stopping server broke off or never
# took (grpc/grpc#41785): one cannot tell which. Who cancels a call of his own hears of it in another way.
BROKEN_OFF = "CANCELLED"
UNHEALTHY = "backend unhealthy"  # how gRPC ends its message where a server's health is not SERVING

# A server says over its health service that it is about to stop; calls then go to others, or fail unsent and
# are repeated if they only read. pick_first cannot watch; of several servers, round_robin asks each in turn.
WATCHED = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
SERVICE_CONFIG = {
    **WATCHED,
    "methodConfig": [
        {
            "name": [
                {"service": method.containing_service.full_name, "method": method.name}
                for method in METHODS.values()
                if only_reads(method)
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",  # 1.4 s in all: longer than it takes to find a server again
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                # CANCELLED: of a call that came while the server stopped, see BROKEN_OFF.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}
OPTIONS = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.keepalive_time_ms", 60_000),
    # Of servers that restart in turn, one must have been found again by the time the next stops.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_send_message_length", Limits().max_message_bytes),
    ("grpc.max_receive_message_length", Limits().max_message_bytes),
]


def _open(grpc_: Any, target: str, identity: Identity) -> Any:
    """A channel, encrypted for https://HOST:PORT and wherever certificates are given."""
    scheme, _, address = target.rpartition("://")
    if scheme == "https" or identity.ca or identity.certificate:
        return grpc_.secure_channel(address, identity.credentials(), options=OPTIONS)
    return grpc_.insecure_channel(address if scheme == "http" else target, options=OPTIONS)


class _Stubs:
    """The methods of a server, whichever kind of channel leads to it, and what both clients do alike."""

    def __init__(self, grpc_: Any, target: str, timeout: float | None, identity: Identity) -> None:
        self.channel, self._target, self._timeout = _open(grpc_, target, identity), target, timeout
        self._metadata = [("authorization", f"Bearer {identity.token}")] if identity.token else []
        self._stubs = {name: _stub(self.channel, method) for name, method in METHODS.items()}

    def send(self, call: Call[Any], request: Message) -> Any:
        """The reply, or what can be awaited for it."""
        seconds = SECONDS[METHODS[call.method].containing_service.name]
        timeout = seconds if self._timeout is None else self._timeout
        return self._stubs[call.method](request, timeout=timeout, metadata=self._metadata)

    def stream(self, call: Call[Any], requests: Any) -> Any:
        """An iterator over the replies, ordinary or asynchronous like the requests."""
        return self._stubs[call.method](requests, metadata=self._metadata)

    def error(self, error: Any) -> RemoteError:
        """What the server, or the failure to reach it, says."""
        # Not dict(...), which misreads the trailers of grpc.aio.
        trailers = {key: value for key, value in error.trailing_metadata() or ()}
        pushback = trailers.get("grpc-retry-pushback-ms")
        message = error.details() or "no reason given"
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            if message.endswith(UNHEALTHY):
                message = "the server is not ready: it is starting, stopping, or its model does not answer"
            message = f"{self._target}: {message}"
        elif error.code() is grpc.StatusCode.CANCELLED and message == BROKEN_OFF:
            message = f"{self._target}: the server stopped before it answered; a write may have been done"
        return RemoteError(error.code().name, message, retry_after=int(pushback) / 1000 if pushback else None)


def _stub(channel: Any, method: MethodDescriptor) -> Any:
    make = channel.stream_stream if method.client_streaming else channel.unary_unary
    reply = GetMessageClass(method.output_type)
    return make(path(method), request_serializer=_serialize, response_deserializer=reply.FromString)


def _serialize(request: Message) -> bytes:
    return request.SerializeToString()


def _method(build: Callable[P, Call[Result]]) -> Callable[Concatenate["Client", P], Result]:
    @functools.wraps(build)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self.run(build(*args, **kwargs))

    return method


def _async_method(
    build: Callable[P, Call[Result]],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, Result]]:
    @functools.wraps(build)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await self.run(build(*args, **kwargs))

    return method


class Client:
    """Asks a server; safe to use from any number of threads. Its methods are the functions of `calls`.

    `target` is HOST:PORT, or https://HOST:PORT where the server encrypts; `identity` says who asks.
    """

    def __init__(
        self, target: str = TARGET, *, timeout: float | None = None, identity: Identity = ANYONE
    ) -> None:
        self._stubs = _Stubs(grpc, target, timeout, identity)

    search = _method(calls.search)
    batch_search = _method(calls.batch_search)
    classify = _method(calls.classify)
    caption = _method(describe_calls.caption)
    match = _method(describe_calls.match)
    segment = _method(segment_calls.segment)
    embed_texts = _method(calls.embed_texts)
    embed_images = _method(calls.embed_images)
    upsert = _method(calls.upsert)
    delete = _method(calls.delete)
    get = _method(calls.get)
    count = _method(calls.count)
    scan = _method(calls.scan)
    collections = _method(calls.collections)
    collection = _method(calls.collection)
    create_collection = _method(calls.create_collection)
    drop_collection = _method(calls.drop_collection)
    set_alias = _method(calls.set_alias)
    remove_alias = _method(calls.remove_alias)
    aliases = _method(calls.aliases)
    snapshot = _method(calls.snapshot)
    info = _method(calls.info)

    def run(self, call: Call[Result]) -> Result:
        """The result of a call built by one of the functions of `calls`."""
        replies = []
        try:
            for reply in self._stream(call) if METHODS[call.method].client_streaming else self._unary(call):
                call.note(reply)
                replies.append(reply)
        except grpc.RpcError as error:
            raise self._stubs.error(error) from error
        return call.read(replies)

    def _unary(self, call: Call[Any]) -> Iterator[Any]:
        return (self._stubs.send(call, request) for request in call.requests)

    def _stream(self, call: Call[Any]) -> Iterator[Any]:
        requests = iter(call.requests)
        while (first := next(requests, None)) is not None:
            yield from self._stream_for_a_while(call, itertools.chain([first], requests))

    def _stream_for_a_while(self, call: Call[Any], source: Iterable[Message]) -> Iterator[Any]:
        room, over = threading.Semaphore(UNACKNOWLEDGED), threading.Event()
        end = time.monotonic() + STREAM_SECONDS
        faults: list[Exception] = []

        def requests() -> Iterator[Message]:  # runs in a thread of gRPC, which hides what it raises
            try:
                for request in source:
                    room.acquire()
                    if over.is_set():
                        return
                    yield request
                    if time.monotonic() > end:
                        return
            except Exception as error:
                faults.append(error)

        try:
            for reply in self._stubs.stream(call, requests()):
                room.release()
                yield reply
        finally:
            over.set()
            room.release()
        if faults:
            raise faults[0]

    def close(self) -> None:
        """Ends the connection."""
        self._stubs.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def connect(target: str) -> Client:
    """A client that is who the environment says: see `Identity.of_environment`."""
    return Client(target, identity=Identity.of_environment())


class AsyncClient:
    """Asks a server without holding up the event loop. Its methods are the functions of `calls`, awaited.

    The arguments are those of `Client`.
    """

    def __init__(
        self, target: str = TARGET, *, timeout: float | None = None, identity: Identity = ANYONE
    ) -> None:
        self._stubs = _Stubs(grpc.aio, target, timeout, identity)

    search = _async_method(calls.search)
    batch_search = _async_method(calls.batch_search)
    classify = _async_method(calls.classify)
    caption = _async_method(describe_calls.caption)
    match = _async_method(describe_calls.match)
    segment = _async_method(segment_calls.segment)
    embed_texts = _async_method(calls.embed_texts)
    embed_images = _async_method(calls.embed_images)
    upsert = _async_method(calls.upsert)
    delete = _async_method(calls.delete)
    get = _async_method(calls.get)
    count = _async_method(calls.count)
    scan = _async_method(calls.scan)
    collections = _async_method(calls.collections)
    collection = _async_method(calls.collection)
    create_collection = _async_method(calls.create_collection)
    drop_collection = _async_method(calls.drop_collection)
    set_alias = _async_method(calls.set_alias)
    remove_alias = _async_method(calls.remove_alias)
    aliases = _async_method(calls.aliases)
    snapshot = _async_method(calls.snapshot)
    info = _async_method(calls.info)

    async def run(self, call: Call[Result]) -> Result:
        """The result of a call built by one of the functions of `calls`."""
        replies = []
        streamed = METHODS[call.method].client_streaming
        try:
            async for reply in self._stream(call) if streamed else self._unary(call):
                call.note(reply)
                replies.append(reply)
        except grpc.RpcError as error:
            raise self._stubs.error(error) from error
        return call.read(replies)

    async def _unary(self, call: Call[Any]) -> AsyncIterator[Any]:
        async for request in _in_threads(call.requests):
            yield await self._stubs.send(call, request)

    async def _stream(self, call: Call[Any]) -> AsyncIterator[Any]:
        source = iter(call.requests)
        async for first in _in_threads(source):
            async for reply in self._stream_for_a_while(call, itertools.chain([first], source)):
                yield reply

    async def _stream_for_a_while(self, call: Call[Any], source: Iterator[Message]) -> AsyncIterator[Any]:
        room, end = asyncio.Semaphore(UNACKNOWLEDGED), time.monotonic() + STREAM_SECONDS
        faults: list[Exception] = []

        async def requests() -> AsyncIterator[Message]:  # runs in a task of gRPC, which hides what it raises
            try:
                async for request in _in_threads(source):
                    await room.acquire()
                    yield request
                    if time.monotonic() > end:
                        return
            except Exception as error:
                faults.append(error)

        async for reply in self._stubs.stream(call, requests()):
            room.release()
            yield reply
        if faults:
            raise faults[0]

    async def close(self) -> None:
        """Ends the connection."""
        await self._stubs.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


async def _in_threads(requests: Iterable[Message]) -> AsyncIterator[Message]:
    """The requests; those of a generator are built in a thread, because building one may read files."""
    if isinstance(requests, list):
        for request in requests:
            yield request
        return
    iterator = iter(requests)
    while (built := await asyncio.to_thread(next, iterator, None)) is not None:
        yield built
