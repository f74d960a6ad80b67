"""A real server on a free port, asked by the asynchronous client."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from polylens.index import Store, restore
from polylens.proto.polylens.v1 import info_pb2
from polylens.service import client as client_module
from polylens.service import server as server_module
from polylens.service.client import AsyncClient
from polylens.service.engine import Engine
from polylens.service.errors import CannotListen, RemoteError
from polylens.service.health import Health
from polylens.service.interceptor import Interceptor
from polylens.service.methods import METHODS, SERVICES, path
from polylens.service.server import OPTIONS, Server, is_loopback
from polylens.service.settings import Settings
from polylens.service.statuses import Statuses

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
NAMES = ["", *(service.full_name for service in SERVICES)]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def fill(client: AsyncClient, picture: Callable[..., bytes], name: str = "colours") -> int:
    await client.create_collection(name)
    return await client.upsert(
        list(COLOURS),
        collection=name,
        images=[picture(colour) for colour in COLOURS.values()],
        metadata=[{"name": name, "order": i} for i, name in enumerate(COLOURS)],
    )


async def statuses(address: str) -> list[int]:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        checks = [stub.Check(health_pb2.HealthCheckRequest(service=name)) for name in NAMES]
        return [(await check).status for check in checks]


async def test_what_was_stored_is_found_by_image_id_vector_and_text(
    serve: Any, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    async with serve(tmp_path) as service:
        client = service.client
        assert await fill(client, picture) == 3
        green = picture(COLOURS["green"])
        (vector,) = await client.embed_images([green])
        for query in ({"image": green}, {"vector": 7 * vector}):
            found = await client.search(**query, collection="colours", k=2)
            assert found[0].id == "green" and found[0].score == pytest.approx(1, abs=1e-5)
            assert found[0].metadata == {"name": "green", "order": 1}
            assert len(found) == 2 and found.collection == "colours" and not found.truncated
            assert found.fingerprint == service.encoder.fingerprint
        by_id = await client.search(id="green", collection="colours")
        assert sorted(hit.id for hit in by_id) == ["blue", "red"]  # all but itself
        by_text = await client.search("anything", k=3)  # in the only collection there is
        assert len(by_text) == 3 and by_text.timings.total_ms >= by_text.timings.encode_ms > 0
        filtered = await client.search("anything", filter={"order": {"$gte": 1}, "name": "blue"})
        assert [hit.id for hit in filtered] == ["blue"]


async def test_collections_and_points(serve: Any, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    async with serve(tmp_path) as service:
        client = service.client
        await fill(client, picture)
        info = await client.create_collection("colours", exist_ok=True)
        assert (info.name, info.dim, info.count, info.problem) == ("colours", 16, 3, "")
        assert await client.collection("colours") == info
        await client.create_collection("another")
        assert [one.name for one in await client.collections()] == ["another", "colours"]
        points = await client.get(["blue", "none", "red"], collection="colours", vectors=True)
        assert [point and point.id for point in points] == ["blue", None, "red"]
        assert np.linalg.norm(points[0].vector_D) == pytest.approx(1, abs=1e-5)
        assert (await client.get(["blue"], collection="colours"))[0].vector_D is None
        assert await client.delete(["blue", "none"], collection="colours") == 1
        assert await client.count(collection="colours") == 2
        await client.drop_collection("another")
        assert [one.name for one in await client.collections()] == ["colours"]


async def test_info_and_truncation(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        info = await service.client.info()
        assert (info.model.name, info.model.dim, info.model.max_text_tokens) == ("fake", 16, 8)
        assert info.model.fingerprint == "f" * 64 and info.version and info.limits.max_k == 1000
        await service.client.create_collection("c")
        assert not (await service.client.search("one two three")).truncated
        assert (await service.client.search("word " * 9)).truncated


async def test_a_dropped_collection_is_gone_and_its_name_is_free(
    serve: Any, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    async with serve(tmp_path) as service:
        await fill(service.client, picture)
        await service.client.drop_collection("colours")
        await service.client.create_collection("colours")
        assert await service.client.count(collection="colours") == 0


async def test_callers_share_batches_and_one_thread(serve: Any, tmp_path: Path) -> None:
    gate = threading.Event()
    async with serve(tmp_path) as service:
        await service.client.create_collection("c")
        service.encoder.batches.clear()
        service.encoder.before = lambda: gate.wait(10)
        calls = [asyncio.create_task(service.client.search(f"text {i}")) for i in range(65)]
        while service.engine._embedder._texts.admission.inside < 65:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        gate.set()
        await asyncio.gather(*calls)
        assert sum(service.encoder.batches) == 65 and len(service.encoder.batches) <= 4
        assert len(service.encoder.threads) == 1


async def test_health_says_serving_for_the_server_and_each_service(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        assert await statuses(service.address) == [SERVING] * len(NAMES)
        async with grpc.aio.insecure_channel(service.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
            assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_callers_of_a_server_that_is_not_ready_are_told_so(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        heard = ""
        service.server._health._set(ready=False)
        async with asyncio.timeout(20):
            while not heard:  # the client learns of it a moment later
                try:
                    await service.client.info()
                except RemoteError as error:
                    heard = str(error)
            assert "the server is not ready: it is starting, stopping" in heard
            service.server._health._set(ready=True)
            while True:
                with contextlib.suppress(RemoteError):
                    assert (await service.client.info()).model.name == "fake"
                    break
                await asyncio.sleep(0.05)


async def test_health_tells_the_truth_about_the_queue_and_recovers(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Health.__init__, "__defaults__", (0.02, 0.2))  # every, patience

    async def until(wanted: int) -> None:
        async with asyncio.timeout(5):
            while await statuses(service.address) != [wanted] * len(NAMES):
                await asyncio.sleep(0.02)

    def fail() -> None:
        raise RuntimeError("broken device")

    async with serve(tmp_path) as service:
        await until(SERVING)
        service.encoder.before = fail
        await until(NOT_SERVING)
        service.encoder.before = lambda: None
        await until(SERVING)
        service.encoder.before = lambda: time.sleep(0.5)  # a device that hangs
        await until(NOT_SERVING)
        service.encoder.before = lambda: None
        await until(SERVING)


async def test_not_serving_before_the_first_canary(tmp_path: Path, new_encoder: Any) -> None:
    encoder = new_encoder()
    seen: list[Any] = []

    def look() -> None:
        if not seen:
            seen.append(asyncio.run_coroutine_threadsafe(statuses(address), loop).result(5))

    loop = asyncio.get_running_loop()
    server = Server(Settings(port=0))
    address, encoder.before = server.address, look
    async with Engine(encoder, Store(tmp_path)) as engine:
        await server.start(engine)
        assert seen == [[NOT_SERVING] * len(NAMES)]
        assert await statuses(address) == [SERVING] * len(NAMES)
        await server.stop(0)


async def test_reflection_lists_every_service(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path) as service, grpc.aio.insecure_channel(service.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        async for reply in stub.ServerReflectionInfo(iter([request])):
            listed = {one.name for one in reply.list_services_response.service}
        assert set(NAMES[1:]) < listed
        # and whoever has no .proto files learns every method of them from the server
        pool = descriptor_pool.DescriptorPool()
        learned: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        asked = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in NAMES[1:]]
        async for reply in stub.ServerReflectionInfo(iter(asked)):
            for data in reply.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                learned[file.name] = file
        for name in ("polylens/v1/types.proto", "polylens/v1/search.proto", *learned):
            with contextlib.suppress(TypeError):  # was added before
                pool.Add(learned[name])
        methods = {
            method.name
            for service in NAMES[1:]
            for method in pool.FindServiceByName(service).methods
            if service.startswith("polylens.")
        }
        assert methods == METHODS.keys()


async def test_a_port_in_use_is_a_clear_error(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        port = int(service.address.split(":")[1])
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}: the port is in use"):
            Server(Settings(port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_other_machines_are_let_in_only_on_demand(host: str) -> None:
    with pytest.raises(CannotListen, match="--insecure"):
        Server(Settings(host=host, port=0))


async def test_control_with_insecure_the_same_address_is_served() -> None:
    server = Server(Settings(host="0.0.0.0", port=0, insecure=True))
    assert server.port > 0
    await server.stop(0)


async def test_an_address_of_another_machine_is_a_clear_error() -> None:
    with pytest.raises(CannotListen, match="192.0.2.1:0: no address of this machine"):
        Server(Settings(host="192.0.2.1", port=0, insecure=True))


def test_loopback_addresses() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.8.8.8", "::1"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "localhost.example.org", ""]))


async def test_draining_finishes_what_is_under_way_and_takes_nothing_new(serve: Any, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with serve(tmp_path) as service:
            client = await stack.enter_async_context(AsyncClient(service.address, timeout=5))
            await client.create_collection("c")
            service.encoder.before = lambda: time.sleep(0.3)
            under_way = asyncio.create_task(client.search("slow"))
            await asyncio.sleep(0.1)
        # here the server has drained and is gone
        assert len(await under_way) == 0
        with pytest.raises(RemoteError) as refused:
            await client.search("too late")
        assert refused.value.code == "UNAVAILABLE"


async def test_draining_says_so_first_and_still_answers(new_encoder: Any, tmp_path: Path) -> None:
    server = Server(Settings(port=0, drain_seconds=0.5, grace_seconds=1))
    async with Engine(new_encoder(), Store(tmp_path)) as engine:
        await server.start(engine)
        async with grpc.aio.insecure_channel(server.address) as channel:  # of a caller who does not watch
            draining = asyncio.create_task(server.drain())
            await asyncio.sleep(0.1)
            assert await statuses(server.address) == [NOT_SERVING] * len(NAMES)
            answer = await channel.unary_unary(path(METHODS["GetInfo"]))(b"")
            assert info_pb2.GetInfoResponse.FromString(answer).model.name == "fake"
            await draining


async def while_draining(new_encoder: Any, folder: Path, options: list[tuple[str, Any]]) -> tuple[int, int]:
    """Calls that a draining server gets from one who asks it and another without pause: ours, and refused."""
    servers = [Server(Settings(port=0, drain_seconds=1.5, grace_seconds=1)) for _ in range(2)]
    late = refused = 0
    async with AsyncExitStack() as stack:
        for number, server in enumerate(servers):
            store = Store(folder / str(number))
            await server.start(await stack.enter_async_context(Engine(new_encoder(), store)))
        target = "ipv4:" + ",".join(server.address for server in servers)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(target, options=options))
        info = channel.unary_unary(path(METHODS["GetInfo"]))
        await info(b"", wait_for_ready=True)
        draining = asyncio.create_task(servers[0].drain())
        await asyncio.sleep(0.7)
        before = servers[0]._interceptor._calls
        while not draining.done():
            try:
                await info(b"")
            except grpc.aio.AioRpcError:
                refused += 1
            await asyncio.sleep(0.01)
            if not servers[0]._interceptor._closed:  # after that who watches asks only for its health
                late = servers[0]._interceptor._calls - before
        await servers[1].stop(0)
    return late, refused


async def test_who_watches_leaves_a_draining_server_before_it_refuses(
    new_encoder: Any, tmp_path: Path
) -> None:
    ours = [*client_module.OPTIONS, ("grpc.enable_retries", 0)]
    assert await while_draining(new_encoder, tmp_path / "watching", ours) == (0, 0)
    # the control: who does not watch stays until the end
    late, _ = await while_draining(new_encoder, tmp_path / "plain", [("grpc.enable_retries", 0)])
    assert late > 5


async def test_idle_watchers_are_bounded_and_leave_room_for_calls(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Statuses.__init__, "__defaults__", (3,))
    async with serve(tmp_path) as service, AsyncExitStack() as stack:
        streams = []
        for _ in range(2):  # the client of `service` watches too
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.address))
            streams.append(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
            assert (await streams[-1].read()).status == SERVING
        await service.client.info()
        one_too_many = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await one_too_many.read()
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        streams.pop().cancel()
        await asyncio.sleep(0.5)
        again = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await again.read()).status == SERVING


async def test_who_watches_does_not_hold_up_the_end(new_encoder: Any, tmp_path: Path) -> None:
    server = Server(Settings(port=0, drain_seconds=0, grace_seconds=30))
    async with Engine(new_encoder(), Store(tmp_path)) as engine:
        await server.start(engine)
        async with grpc.aio.insecure_channel(server.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING
            async with asyncio.timeout(5):
                await server.drain()
            assert (await watch.read()).status == NOT_SERVING
            assert await watch.read() is grpc.aio.EOF


async def what_callers_hear_at_the_end(new_encoder: Any, folder: Path) -> set[str]:
    """The codes that 64 callers of a draining server get, who ask at once again until they are refused."""
    server, heard = Server(Settings(port=0, drain_seconds=0.2, grace_seconds=5)), set[str]()

    async def ask(address: str) -> None:
        async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
            info = channel.unary_unary(path(METHODS["GetInfo"]))
            while True:
                try:
                    await info(b"", timeout=10)
                except grpc.aio.AioRpcError as error:
                    return heard.add(error.code().name)

    async with Engine(new_encoder(), Store(folder)) as engine:
        await server.start(engine)
        callers = [asyncio.create_task(ask(server.address)) for _ in range(64)]
        await asyncio.sleep(0.2)
        await server.drain()
        await asyncio.gather(*callers)
    return heard


async def test_no_call_is_cancelled_by_the_end_of_the_server(new_encoder: Any, tmp_path: Path) -> None:
    assert await what_callers_hear_at_the_end(new_encoder, tmp_path) == {"UNAVAILABLE"}


async def test_control_without_closing_first_grpc_cancels_calls_that_wait_to_be_taken(
    new_encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Interceptor, "close", lambda self: asyncio.sleep(0))
    heard = [await what_callers_hear_at_the_end(new_encoder, tmp_path / str(turn)) for turn in range(5)]
    assert "CANCELLED" in set().union(*heard)


async def test_more_calls_than_the_server_takes_are_refused_with_advice_and_it_recovers(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CALLS", 20)
    gate = threading.Event()
    async with serve(tmp_path) as service:
        await service.client.create_collection("c")
        service.encoder.before = lambda: gate.wait(10)
        calls = [asyncio.create_task(service.client.search(f"text {i}")) for i in range(60)]
        while len(refused := {call for call in calls if call.done()}) < 40:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert sum(call.done() for call in calls) == 40
        for call in refused:
            assert isinstance(error := call.exception(), RemoteError)
            assert error.code == "RESOURCE_EXHAUSTED" and error.retry_after > 0
        assert await statuses(service.address) == [SERVING] * len(NAMES)  # busy is not sick
        gate.set()
        assert len(await asyncio.gather(*(set(calls) - refused))) == 20
        for _ in range(3):
            assert len(await asyncio.gather(*(service.client.search(f"text {i}") for i in range(20)))) == 20


def test_every_option_of_the_server_is_spelled_as_grpc_does() -> None:
    names = [name for name, _ in OPTIONS]
    assert len(names) == len(set(names)) == 15
    assert dict(OPTIONS)["grpc.so_reuseport"] == 0
    assert len(METHODS) >= 15


async def lag(during: Callable[[], Any]) -> float:
    """The longest time, in seconds, that the event loop did not get round to a timer of 2 ms."""
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.002)
            worst = max(worst, time.perf_counter() - begun - 0.002)

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    await during()
    await asyncio.sleep(0.01)
    watcher.cancel()
    return worst


async def test_work_does_not_hold_up_the_event_loop(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        await service.client.create_collection("c")
        service.encoder.before = lambda: time.sleep(0.5)
        assert await lag(lambda: service.engine.embed_texts(["a"])) < 0.25
        # the control: the same work on the loop itself
        assert await lag(lambda: asyncio.sleep(0, service.encoder.embed_ids([["a"]]))) > 0.4


async def test_a_snapshot_of_a_collection_in_use_can_be_restored(
    serve: Any, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    async with serve(tmp_path / "data", snapshots=tmp_path / "snapshots") as service:
        client = service.client
        await fill(client, picture)
        made = await client.snapshot("colours")
        await client.delete(["red"], collection="colours")  # is in the snapshot all the same
        with pytest.raises(RemoteError) as raised:
            await client.snapshot("none")
        assert raised.value.code == "NOT_FOUND"
    file = tmp_path / "snapshots" / made.name
    assert file.stat().st_size == made.size and made.count == 3
    (tmp_path / "again").mkdir()
    restore(file, tmp_path / "again" / "colours")
    async with serve(tmp_path / "again") as service:
        assert await service.client.count(collection="colours") == 3
        with pytest.raises(RemoteError) as raised:  # the control: no folder, no snapshots
            await service.client.snapshot("colours")
        assert raised.value.code == "UNIMPLEMENTED"
