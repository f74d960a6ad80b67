"""What many callers, slow callers and a small device do to others: as little as possible."""

import asyncio
import contextlib
import json
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from polylens.proto.polylens.v1 import collection_pb2
from polylens.service import client as client_module
from polylens.service import server as server_module
from polylens.service.batching import Batcher
from polylens.service.client import Client
from polylens.service.errors import RemoteError
from polylens.service.status import told
from polylens.service.threads import Device


async def batches_before(interactive: bool) -> int:
    """How many batches ran before one entry that came after 320 entries of bulk was answered."""
    ran, gate = list[int](), threading.Event()

    def run(entries: list[int]) -> list[int]:
        gate.wait(10)
        ran.append(len(entries))
        return entries

    device = Device()
    batcher = Batcher[int, int, int](lambda x: x, {device: run}, max_size=8)
    batcher.start()
    bulk = [asyncio.create_task(batcher.submit_all(range(16))) for _ in range(20)]
    while sum(batcher.waiting) < 300:
        await asyncio.sleep(0.01)
    late = asyncio.create_task(batcher.submit(-1, bulk=not interactive))
    await asyncio.sleep(0.1)
    gate.set()
    await late
    answered = len(ran)
    await asyncio.gather(*bulk)
    await batcher.close()
    await device.close()
    return answered


async def test_bulk_does_not_stand_before_a_single_caller() -> None:
    assert await batches_before(interactive=True) <= 3
    assert await batches_before(interactive=False) > 20  # the control


async def test_a_device_without_room_for_the_batch_answers_every_entry() -> None:
    sizes = list[int]()

    def small(entries: list[int]) -> list[int]:
        sizes.append(len(entries))
        if len(entries) > 2 or 13 in entries:
            raise MemoryError(f"no room for {len(entries)}")
        return entries

    device = Device()
    batcher = Batcher[int, int, int](lambda x: x, {device: small}, max_size=16, max_wait=0.05)
    batcher.start()
    done = await batcher.submit_all(range(16))
    assert [getattr(one, "value", None) for one in done] == [*range(13), None, 14, 15]
    assert max(sizes) > 2 and told(done[13])[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    await batcher.close()
    await device.close()


async def closed_of(address: str, count: int, seconds: float) -> int:
    """How many of so many connections on which nothing is said have been closed after a while."""
    host, _, port = address.rpartition(":")
    pairs = [await asyncio.open_connection(host, int(port)) for _ in range(count)]

    async def closed(reader: asyncio.StreamReader) -> bool:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while await reader.read(4096):
                    pass
            return True
        return False

    found = await asyncio.gather(*(closed(reader) for reader, _ in pairs))
    for _, writer in pairs:
        writer.close()
    return sum(found)


@pytest.mark.parametrize("patience_ms", [600, 60_000])
async def test_who_connects_and_says_nothing_is_cut_off_and_delays_nobody(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience_ms: int
) -> None:
    options = dict(server_module.OPTIONS) | {"grpc.server_handshake_timeout_ms": patience_ms}
    monkeypatch.setattr(server_module, "OPTIONS", [*options.items()])
    async with serve(tmp_path) as service:
        await service.client.create_collection("c")
        silent = asyncio.create_task(closed_of(service.address, 100, 3.0))
        for number in range(20):
            await service.client.search(f"text {number}")
        closed = await silent
    assert closed == (100 if patience_ms < 1000 else 0)  # the second case is the control


class Away(grpc.GenericRpcHandler):
    """A server that counts the attempts of callers and answers none."""

    def __init__(self) -> None:
        self.attempts = 0

    def service(self, details: Any) -> Any:
        if details.method.startswith("/grpc.health."):
            return None  # nothing to watch: such a server counts as healthy

        def refuse(request: bytes, context: Any) -> bytes:
            self.attempts += 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)


def attempts_for(calls: int) -> float:
    """How often a client asks for each call when no server answers."""
    away = Away()
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[away])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Client(f"127.0.0.1:{port}") as client, futures.ThreadPoolExecutor(20) as pool:

            def ask(_: int) -> None:
                with contextlib.suppress(RemoteError):
                    client.info()

            list(pool.map(ask, range(calls)))
    finally:
        server.stop(0).wait()
    return away.attempts / calls


class Late(grpc.GenericRpcHandler):
    """A server that stops as the first call comes, and is there again for the second."""

    def __init__(self) -> None:
        self.attempts = 0

    def service(self, details: Any) -> Any:
        if details.method.startswith("/grpc.health."):
            return None  # nothing to watch: such a server counts as healthy

        def answer(request: bytes, context: Any) -> bytes:
            self.attempts += 1
            if self.attempts == 1:
                context.abort(grpc.StatusCode.CANCELLED, client_module.BROKEN_OFF)
            return collection_pb2.CountPointsResponse(count=3).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


def test_a_read_that_came_too_late_is_repeated_and_a_write_is_told() -> None:
    with futures.ThreadPoolExecutor(2) as pool:
        late = Late()
        server = grpc.server(pool, handlers=[late])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with Client(f"127.0.0.1:{port}") as client:
                assert client.count(collection="c") == 3
                assert late.attempts == 2
                late.attempts = 0
                with pytest.raises(RemoteError, match="a write may have been done") as told:
                    client.drop_collection("c")
                assert told.value.code == "CANCELLED" and late.attempts == 1
        finally:
            server.stop(0).wait()


def test_clients_do_not_storm_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attempts_for(200) < 1.2
    config = {name: one for name, one in client_module.SERVICE_CONFIG.items() if name != "retryThrottling"}
    options = dict(client_module.OPTIONS) | {"grpc.service_config": json.dumps(config)}
    monkeypatch.setattr(client_module, "OPTIONS", [*options.items()])
    assert attempts_for(20) > 3  # the control: without a budget each call is tried four times
