"""Both clients: the same methods, images in every form, long lists in chunks, faults by position, retries."""

import asyncio
import inspect
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from polylens.errors import InvalidInput
from polylens.proto.polylens.v1 import collection_pb2, info_pb2
from polylens.service import calls, chunks, describe_calls, segment_calls
from polylens.service import client as client_module
from polylens.service.client import OPTIONS, SERVICE_CONFIG, AsyncClient, Client
from polylens.service.errors import BatchError, RemoteError
from polylens.service.methods import METHODS, only_reads, path

CALLS = {
    name: value
    for module in (calls, describe_calls, segment_calls)
    for name, value in vars(module).items()
    if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
}


@pytest.fixture
def client(running: Any) -> Iterator[Client]:
    with Client(running.address) as client:
        client.create_collection("c")
        yield client


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_has_exactly_the_functions_of_calls(kind: type) -> None:
    methods = {name for name in vars(kind) if not name.startswith("_")} - {"run", "close"}
    assert methods == CALLS.keys() and len(methods) == 22
    for name, function in CALLS.items():
        method = getattr(kind, name)
        assert inspect.signature(method) == inspect.signature(function)
        assert method.__doc__ == function.__doc__


def test_every_way_to_give_an_image(client: Client, picture: Callable[..., bytes], tmp_path: Path) -> None:
    data = picture((1, 2, 3))
    file = tmp_path / "one.png"
    file.write_bytes(data)
    vectors = client.embed_images([data, file, str(file), Image.open(file)])
    assert vectors.shape == (4, 16) and vectors.dtype == np.float32
    assert all(np.array_equal(vectors[0], row) for row in vectors[1:])
    client.upsert(["one"], collection="c", images=[file])
    assert client.search(image=Image.open(file))[0].score == pytest.approx(1, abs=1e-5)


def test_texts(client: Client, running: Any) -> None:
    texts = [f"text number {i}" for i in range(150)]  # more than one request holds
    vectors = client.embed_texts(texts)
    assert vectors.shape == (150, 16)
    assert np.array_equal(vectors[149], running.encoder.text_vector(texts[149]))
    assert client.embed_texts([]).shape == (0, 0)


def test_the_other_methods(client: Client) -> None:
    assert client.upsert(["a", "b"], collection="c", vectors=np.eye(16)[:2], metadata=[{"n": 1}, {}]) == 2
    assert client.count(collection="c") == 2
    assert [p and p.metadata for p in client.get(["a", "z"], collection="c")] == [{"n": 1}, None]
    assert client.delete(["a", "z"], collection="c") == 1
    assert [one.name for one in client.collections()] == ["c"] and client.collection("c").count == 1
    assert client.info().model.name == "fake"
    client.drop_collection("c")
    assert client.collections() == []


def test_a_long_upload_goes_in_chunks_and_reports_progress(client: Client) -> None:
    vectors = np.random.default_rng(0).standard_normal((1000, 16))
    steps: list[int] = []
    ids = [f"id {i}" for i in range(1000)]
    assert client.upsert(ids, collection="c", vectors=vectors, progress=steps.append) == 1000
    assert sum(steps) == 1000 and len(steps) == -(-1000 // chunks.CHUNK_ENTRIES)
    assert client.search(vector=vectors[777])[0].id == "id 777"
    assert len(client.get(ids, collection="c")) == 1000
    assert client.delete(ids, collection="c") == 1000


@pytest.mark.parametrize("seconds", [0.0, 30.0])
async def test_a_long_upload_goes_on_in_further_streams(
    seconds: float, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "STREAM_SECONDS", seconds)
    ids, vectors = [str(i) for i in range(300)], np.ones((300, 16))
    async with serve(tmp_path) as service:
        await service.client.create_collection("c")
        assert await service.client.upsert(ids, collection="c", vectors=vectors) == 300
        with Client(service.address) as client:
            opened: list[Any] = []
            stream = client._stubs.stream
            client._stubs.stream = lambda *how: opened.append(how) or stream(*how)
            assert await asyncio.to_thread(client.upsert, ids, collection="c", vectors=vectors) == 300
        assert len(opened) == (5 if seconds == 0 else 1)  # 300 points are 5 chunks
        assert await service.client.count(collection="c") == 300


def test_chunks_are_bounded_by_bytes_too() -> None:
    book = chunks.Book(5)
    sizes = [3 << 20, 2 << 20, 1 << 20, 9 << 20, 1]
    got = list(book.chunks((i, i, size) for i, size in enumerate(sizes)))
    assert got == [[0], [1, 2], [3], [4]]


def test_faults_are_told_by_the_callers_positions(
    client: Client, picture: Callable[..., bytes], tmp_path: Path
) -> None:
    images: list[Any] = [picture((i, 0, 0)) for i in range(100)]
    images[7], images[70], images[90] = b"no image", tmp_path / "absent.png", b"neither"
    ids = [str(i) for i in range(100)]
    with pytest.raises(BatchError, match="3 of 100 entries failed; entry 7: ") as raised:
        client.upsert(ids, collection="c", images=images)
    assert [(fault.index, fault.code) for fault in raised.value.faults] == [(7, 3), (70, 3), (90, 3)]
    assert "absent.png" in raised.value.faults[1].message
    assert raised.value.result == client.count(collection="c") == 97
    with pytest.raises(BatchError) as raised:
        client.embed_images(images)
    assert [fault.index for fault in raised.value.faults] == [7, 70, 90]
    rows = raised.value.result
    assert rows.shape == (100, 16) and np.isnan(rows[[7, 70, 90]]).all() and np.isfinite(rows[71:90]).all()


def test_metadata_that_is_no_json_is_the_fault_of_its_point(client: Client) -> None:
    metadata = [{"ok": 1}, {"bad": object()}, {}]
    with pytest.raises(BatchError) as raised:
        client.upsert(["a", "b", "c"], collection="c", vectors=np.eye(16)[:3], metadata=metadata)
    assert [fault.index for fault in raised.value.faults] == [1] and raised.value.result == 2


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"text": "a", "id": "b"},
        {"image": 3},
        {"image": "/does/not/exist.png"},
        {"text": "a", "filter": {"a": float("nan")}},
    ],
)
def test_what_makes_no_request_is_refused_before_asking(how: dict[str, Any]) -> None:
    with Client("localhost:1") as client, pytest.raises(InvalidInput):
        client.search(**how)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"images": [b""], "vectors": [[1.0]]},
        {"vectors": [[1.0], [2.0]]},
        {"vectors": [[1.0]], "metadata": []},
    ],
)
def test_lists_that_do_not_fit_together_are_refused(how: dict[str, Any]) -> None:
    with Client("localhost:1") as client, pytest.raises(InvalidInput):
        client.upsert(["a"], collection="c", **how)


def test_what_the_server_answers_is_an_error_with_code_and_words(client: Client) -> None:
    with pytest.raises(RemoteError) as raised:
        client.search("a", collection="none")
    assert raised.value.code == "NOT_FOUND" and "none" in raised.value.message
    with pytest.raises(RemoteError) as raised:
        client.upsert([str(i) for i in range(500)], collection="none", vectors=np.ones((500, 16)))
    assert raised.value.code == "NOT_FOUND"  # and no thread waits for room for ever
    with (
        Client("localhost:1", timeout=5) as nobody,
        pytest.raises(RemoteError, match="localhost:1") as raised,
    ):
        nobody.search("a")
    assert raised.value.code == "UNAVAILABLE"


def test_a_fault_while_requests_are_built_reaches_the_caller(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(point: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(calls.to, "point_to_proto", broken)
    with pytest.raises(ZeroDivisionError):
        client.upsert(["a"], collection="c", vectors=np.ones((1, 16)))


async def test_the_same_asynchronously(serve: Any, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    async with serve(tmp_path) as service:
        client = service.client
        await client.create_collection("c")
        vectors = np.random.default_rng(0).standard_normal((300, 16))
        steps: list[int] = []
        ids = [str(i) for i in range(300)]
        assert await client.upsert(ids, collection="c", vectors=vectors, progress=steps.append) == 300
        assert sum(steps) == 300
        with pytest.raises(BatchError) as raised:
            await client.upsert(["x", "y"], collection="c", images=[picture(), b"no"])
        assert [fault.index for fault in raised.value.faults] == [1]
        with pytest.raises(RemoteError):
            await client.upsert(ids, collection="none", vectors=vectors)
        with pytest.raises(InvalidInput):
            await client.search()
        found = await asyncio.gather(*(client.search(vector=row, k=1) for row in vectors[:20]))
        assert [one[0].id for one in found] == ids[:20]


class Flaky:
    """Answers UNAVAILABLE to the first two calls of each method."""

    def __init__(self) -> None:
        self.calls = Counter[str]()

    def service(self, details: Any) -> Any:
        if details.method.startswith("/grpc.health."):
            return None  # nothing to watch: such a server counts as healthy

        def answer(request: bytes, context: Any) -> bytes:
            self.calls[details.method] += 1
            if self.calls[details.method] <= 2:
                context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
            if details.method == path(METHODS["GetInfo"]):
                return info_pb2.GetInfoResponse(version="1").SerializeToString()
            return collection_pb2.CreateCollectionResponse().SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


def test_calls_that_only_read_are_repeated_while_a_server_is_away() -> None:
    flaky = Flaky()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[flaky])
    port = server.add_insecure_port("localhost:0")
    server.start()
    with Client(f"localhost:{port}") as client:
        assert client.info().version == "1"
        assert flaky.calls[path(METHODS["GetInfo"])] == 3
        # the control: a call that changes something is not repeated
        with pytest.raises(RemoteError) as raised:
            client.create_collection("c")
        assert raised.value.code == "UNAVAILABLE"
        assert flaky.calls[path(METHODS["CreateCollection"])] == 1
    server.stop(0).wait()


def test_which_methods_only_read() -> None:
    changing = {name for name, method in METHODS.items() if not only_reads(method)}
    assert changing == {
        "CreateCollection",
        "DropCollection",
        "UpsertPoints",
        "UpsertPointsStream",
        "DeletePoints",
        "SetAlias",
        "RemoveAlias",
        "SnapshotCollection",
    }


def test_a_deadline_of_the_caller_holds(client: Client, running: Any) -> None:
    running.encoder.before = lambda: time.sleep(1)
    with Client(running.address, timeout=0.2) as hasty, pytest.raises(RemoteError) as raised:
        hasty.search("a")
    assert raised.value.code == "DEADLINE_EXCEEDED"


class Away(Flaky):
    """Always UNAVAILABLE."""

    def service(self, details: Any) -> Any:
        if details.method.startswith("/grpc.health."):
            return None  # nothing to watch: such a server counts as healthy

        def answer(request: bytes, context: Any) -> bytes:
            self.calls[details.method] += 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.mark.parametrize("budget", [True, False], ids=["budget", "control without"])
def test_repeating_has_a_budget_so_that_nobody_storms_a_server_that_comes_back(
    budget: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = {name: value for name, value in SERVICE_CONFIG.items() if name != "retryThrottling"}
    policy = json.dumps(SERVICE_CONFIG if budget else without)
    rest = [option for option in OPTIONS if option[0] != "grpc.service_config"]
    monkeypatch.setattr(client_module, "OPTIONS", [("grpc.service_config", policy), *rest])
    away = Away()
    server = grpc.server(ThreadPoolExecutor(4), handlers=[away])
    port = server.add_insecure_port("localhost:0")
    server.start()
    with Client(f"localhost:{port}") as client, ThreadPoolExecutor(20) as callers:
        for one in [callers.submit(client.info) for _ in range(60)]:
            assert isinstance(one.exception(), RemoteError)
    attempts = away.calls[path(METHODS["GetInfo"])] / 60
    assert attempts < 1.3 if budget else attempts > 2
    server.stop(0).wait()
