"""Every kind of bad input over gRPC: the right status code, words that help, and neighbours unaffected.

UNKNOWN is never an answer, and INTERNAL only for what is a bug, with nothing but an id.
"""

import asyncio
import io
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image
from polylens.proto.polylens.v1 import collection_pb2, embed_pb2, search_pb2
from polylens.service import server
from polylens.service.methods import METHODS, path

FLOATS = np.ones(16, "<f4")
Code = grpc.StatusCode


def image(width: int, height: int, mode: str = "1", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind)
    return buffer.getvalue()


def with_nan() -> bytes:
    return np.where(np.arange(16) == 3, np.nan, FLOATS).astype("<f4").tobytes()


def search(k: int = 1, filter: str = "", collection: str = "c", **query: Any) -> search_pb2.SearchRequest:
    return search_pb2.SearchRequest(
        collection=collection, k=k, filter_json=filter, query=search_pb2.Query(**query)
    )


def upsert(collection: str = "c", **point: Any) -> collection_pb2.UpsertPointsRequest:
    return collection_pb2.UpsertPointsRequest(
        collection=collection, points=[collection_pb2.Point(**({"id": "x"} | point))]
    )


def embed(texts: list[str]) -> embed_pb2.EmbedTextsRequest:
    return embed_pb2.EmbedTextsRequest(texts=texts)


def create(name: str) -> collection_pb2.CreateCollectionRequest:
    return collection_pb2.CreateCollectionRequest(name=name)


GOOD = FLOATS.tobytes()
BAD, LIMIT, MISSING = Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED, Code.NOT_FOUND
JPEG, ENORMOUS, BMP = image(64, 64, "RGB", "JPEG"), image(7000, 7000), image(8, 8, "RGB", "BMP")
DEEP = '{"a":' * 40 + "1" + "}" * 40  # deeper than the index keeps
NESTED = "[" * 100_000

SEARCHES: dict[str, tuple[Any, grpc.StatusCode, str]] = {
    "empty text": (search(text=""), BAD, "query.text: the text is empty"),
    "blank text": (search(text=" \n\t"), BAD, "query.text: the text is empty"),
    "enormous text": (search(text="x" * 40_000), LIMIT, "40000 bytes; at most 32768"),
    "no query": (search(), BAD, "query: one of"),
    "not an image": (search(image=b"hello"), BAD, "query.image: .*no image that can be read"),
    "empty image": (search(image=b""), BAD, "query.image: the image is empty"),
    "truncated image": (search(image=JPEG[:300]), BAD, "query.image: "),
    "enormous image": (search(image=ENORMOUS), BAD, "pixels, expected"),
    "image of another format": (search(image=BMP), BAD, "expected JPEG, PNG or WEBP"),
    "image of too many bytes": (search(image=bytes((15 << 20) + 1)), LIMIT, "at most 15728640"),
    "wrong dimension": (search(vector=GOOD[:-4]), BAD, r"query.vector: .*\(15,\), the model's have \(16,\)"),
    "no whole floats": (search(vector=GOOD[:-1]), BAD, "query.vector: .*63 bytes"),
    "empty vector": (search(vector=b""), BAD, r"query.vector: .*\(0,\)"),
    "NaN": (search(vector=with_nan()), BAD, "query.vector: .*NaN"),
    "infinity": (search(vector=(FLOATS * np.inf).tobytes()), BAD, "query.vector: .*infinite"),
    "zero vector": (search(vector=bytes(64)), BAD, "query.vector: .*too short"),
    "k too large": (search(k=1001, text="a"), BAD, "k: 1001 is not from 1 to 1000"),
    "filter no JSON": (search(filter="{", text="a"), BAD, "filter_json: not JSON"),
    "filter no object": (search(filter="[1]", text="a"), BAD, "filter_json: a JSON list"),
    "filter with NaN": (search(filter='{"a": NaN}', text="a"), BAD, "filter_json: .*NaN"),
    "filter with infinity": (search(filter='{"a": 1e999}', text="a"), BAD, "filter_json: .*1e999"),
    "filter of unknown words": (search(filter='{"$where": 1}', text="a"), BAD, "filter_json: .*where"),
    "filter too deep": (search(filter=NESTED[:60_000], text="a"), BAD, "filter_json: not JSON"),
    "filter too large": (search(filter=NESTED, text="a"), LIMIT, "at most 65536"),
    "unknown collection": (search(collection="no", text="a"), MISSING, "no collection 'no'"),
    "impossible collection": (search(collection="../c", text="a"), BAD, "'../c', expected"),
    "which collection": (search(collection="", text="a"), BAD, "collection: there are several.*: c, other"),
    "unknown id": (search(id="nobody"), MISSING, "no point 'nobody'"),
    "other model": (search(collection="other", vector=GOOD), Code.FAILED_PRECONDITION, "e{16}…"),
}
UPSERTS: dict[str, tuple[Any, grpc.StatusCode, str]] = {
    "other model": (upsert("other", vector=GOOD), Code.FAILED_PRECONDITION, "f{16}…"),
    "unknown collection": (upsert("no", vector=GOOD), MISSING, "'no'"),
    "nothing": (upsert(), BAD, "one of image and vector"),
    "no id": (upsert(id="", vector=GOOD), BAD, "the id has 0 bytes"),
    "long id": (upsert(id="ü" * 129, vector=GOOD), BAD, "the id has 258 bytes"),
    "NaN": (upsert(vector=with_nan()), BAD, "NaN"),
    "bad image": (upsert(image=JPEG[:300]), BAD, "the image"),
    "metadata no object": (upsert(vector=GOOD, metadata_json="3"), BAD, "metadata_json: a JSON int"),
    "metadata too large": (upsert(vector=GOOD, metadata_json=f'{{"a":"{NESTED}"}}'), LIMIT, "at most 65536"),
    "metadata too deep": (upsert(vector=GOOD, metadata_json=DEEP), BAD, "32 levels"),
}
OTHERS: dict[str, tuple[str, Any, grpc.StatusCode, str]] = {
    "create existing": ("CreateCollection", create("c"), Code.ALREADY_EXISTS, "'c' already"),
    "create badly named": ("CreateCollection", create("a/b"), BAD, "'a/b', expected"),
    "drop unknown": ("DropCollection", collection_pb2.DropCollectionRequest(name="no"), MISSING, "'no'"),
    "too many texts": ("EmbedTexts", embed(["a"] * 257), LIMIT, "texts: 257"),
    "all texts bad": ("EmbedTexts", embed(["", " "]), BAD, "the text is empty"),
    "a bug": ("EmbedTexts", embed(["poison"]), Code.INTERNAL, "^internal error [0-9a-f]{12}; "),
    "too many ids": (
        "GetPoints",
        collection_pb2.GetPointsRequest(collection="c", ids=NESTED[:257]),
        LIMIT,
        "257",
    ),
}
CASES = {f"Search, {name}": ("Search", *case) for name, case in SEARCHES.items()}
CASES |= {f"UpsertPoints, {name}": ("UpsertPoints", *case) for name, case in UPSERTS.items()}
CASES |= OTHERS


@asynccontextmanager
async def asked(serve: Any, folder: Path, new_encoder: Any) -> Any:
    """A server with a collection `c` of ours and one named `other` of another model, and raw calls to it."""
    async with serve(folder, new_encoder("e" * 64)) as service:
        await service.client.create_collection("other")
        await service.client.upsert(["a"], collection="other", vectors=[FLOATS])
    async with serve(folder) as service, grpc.aio.insecure_channel(service.address) as channel:
        await service.client.create_collection("c")
        await service.client.upsert(["a"], collection="c", vectors=[FLOATS])

        async def call(method: str, request: Any) -> bytes:
            data = request if isinstance(request, bytes) else request.SerializeToString()
            make = channel.stream_stream if METHODS[method].client_streaming else channel.unary_unary
            if METHODS[method].client_streaming:
                return [reply async for reply in make(path(METHODS[method]))(iter([data]))]
            return await make(path(METHODS[method]))(data)

        yield service, call


async def status_of(call: Any, method: str, request: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(method, request)
    return raised.value


async def details_of(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    """The google.rpc detail of that kind in the status."""
    status = rpc_status.from_call(SyncView(error))
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            packed.Unpack(found)
            return found
    return None


class SyncView:
    """An AioRpcError as rpc_status wants to see it."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code, self.details = error.code, error.details
        self.trailing_metadata = error.trailing_metadata


async def test_each_has_its_code_and_its_words_and_the_server_goes_on(
    serve: Any, tmp_path: Path, new_encoder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {}
    async with asked(serve, tmp_path, new_encoder) as (service, call):
        for name, (method, request, code, words) in CASES.items():
            error = await status_of(call, method, request)
            if error.code() is not code or not re.search(words, error.details()):
                wrong[name] = (error.code().name, error.details())
            if code is BAD:
                detail = await details_of(error, error_details_pb2.BadRequest)
                assert detail.field_violations[0].description == error.details()
            assert "/" not in error.details() or "a/b" in error.details() or "../c" in error.details()
        assert wrong == {}
        assert [hit.id for hit in await service.client.search("still here", collection="c")] == ["a"]
        assert await service.client.count(collection="c") == 1
    assert "a secret of the server" in caplog.text  # the log has what the caller must not see


async def test_details_for_programs(serve: Any, tmp_path: Path, new_encoder: Any) -> None:
    async with asked(serve, tmp_path, new_encoder) as (_, call):
        error = await status_of(call, "Search", search(vector=with_nan()))
        assert (await details_of(error, error_details_pb2.BadRequest)).field_violations[
            0
        ].field == "query.vector"
        error = await status_of(call, "Search", search(id="nobody"))
        assert (await details_of(error, error_details_pb2.ResourceInfo)).resource_name == "nobody"
        error = await status_of(call, "Search", search(collection="other", text="a"))
        assert (await details_of(error, error_details_pb2.PreconditionFailure)).violations[0].type == "MODEL"


async def test_a_collection_of_another_model_is_listed_with_its_problem_and_can_be_dropped(
    serve: Any, tmp_path: Path, new_encoder: Any
) -> None:
    async with asked(serve, tmp_path, new_encoder) as (service, _):
        ours, other = await service.client.collections()
        assert (ours.problem, other.count) == ("", 1) and "another" not in ours.problem
        assert "filled by the model with fingerprint eeee" in other.problem
        await service.client.drop_collection("other")
        assert [one.name for one in await service.client.collections()] == ["c"]


async def test_bad_entries_of_a_batch_leave_their_neighbours_alone(
    serve: Any, tmp_path: Path, new_encoder: Any, picture: Callable[..., bytes]
) -> None:
    async with asked(serve, tmp_path, new_encoder) as (service, call):
        texts = ["one", "", "two", "poison", "x" * 40_000]
        reply = embed_pb2.EmbedTextsResponse.FromString(
            await call("EmbedTexts", embed_pb2.EmbedTextsRequest(texts=texts))
        )
        assert [(e.index, e.code) for e in reply.errors] == [(1, 3), (3, 13), (4, 8)]
        assert "secret" not in reply.errors[1].message
        assert [len(one.vector) for one in reply.embeddings] == [64, 0, 64, 0, 0]
        for place in (0, 2):
            got = np.frombuffer(reply.embeddings[place].vector, "<f4")
            assert np.array_equal(got, service.encoder.text_vector(texts[place]))
        images = [picture(), b"no", picture((1, 2, 3)), JPEG[:300], ENORMOUS]
        reply = embed_pb2.EmbedImagesResponse.FromString(
            await call("EmbedImages", embed_pb2.EmbedImagesRequest(images=images))
        )
        assert [(e.index, e.code) for e in reply.errors] == [(1, 3), (3, 3), (4, 3)]
        assert [len(one.vector) for one in reply.embeddings] == [64, 0, 64, 0, 0]


async def test_bad_points_leave_their_neighbours_alone(
    serve: Any, tmp_path: Path, new_encoder: Any, picture: Callable[..., bytes]
) -> None:
    points = [
        collection_pb2.Point(id="p0", vector=GOOD),
        collection_pb2.Point(id="p1", vector=with_nan()),
        collection_pb2.Point(id="p2", image=picture()),
        collection_pb2.Point(id="p3", image=b"no"),
        collection_pb2.Point(id="p4", vector=GOOD, metadata_json="{"),
        collection_pb2.Point(
            id="p5", vector=GOOD, metadata_json='{"a":' * 40 + "1" + "}" * 40
        ),  # the index's limit
        collection_pb2.Point(id="p\0", vector=GOOD),  # likewise
        collection_pb2.Point(id="", vector=GOOD),
        collection_pb2.Point(id="p8", vector=GOOD[:8]),
        collection_pb2.Point(id="p9", vector=GOOD, metadata_json='{"a": 1}'),
    ]
    async with asked(serve, tmp_path, new_encoder) as (service, call):
        reply = collection_pb2.UpsertPointsResponse.FromString(
            await call("UpsertPoints", collection_pb2.UpsertPointsRequest(collection="c", points=points))
        )
        assert reply.stored == 3
        assert [(e.index, e.code) for e in reply.errors] == [(i, 3) for i in (1, 3, 4, 5, 6, 7, 8)]
        got = await service.client.get([f"p{i}" for i in range(10)], collection="c")
        assert [one.id for one in got if one] == ["p0", "p2", "p9"]
        request = collection_pb2.UpsertPointsStreamRequest(chunk=77, collection="c", points=points[1:2])
        (data,) = await call("UpsertPointsStream", request)
        chunk = collection_pb2.UpsertPointsStreamResponse.FromString(data)
        assert (chunk.chunk, chunk.stored, chunk.errors[0].code) == (77, 0, 3)  # no end of the stream


async def test_a_stream_to_an_unknown_collection_ends_with_the_code(
    serve: Any, tmp_path: Path, new_encoder: Any
) -> None:
    async with asked(serve, tmp_path, new_encoder) as (_, call):
        for request, code in (
            (collection_pb2.UpsertPointsStreamRequest(collection="no"), Code.NOT_FOUND),
            (b"\xff\xff\xff", BAD),
        ):
            assert (await status_of(call, "UpsertPointsStream", request)).code() is code


async def test_messages_over_the_limit_are_refused_by_the_library(
    serve: Any, tmp_path: Path, new_encoder: Any
) -> None:
    async with asked(serve, tmp_path, new_encoder) as (service, call):
        error = await status_of(call, "Search", search(image=bytes(17 << 20)))
        assert error.code() is Code.RESOURCE_EXHAUSTED
        gzip = grpc.Compression.Gzip  # a bomb: 20 KB that become 17 MB
        async with grpc.aio.insecure_channel(service.address, compression=gzip) as channel:
            stub = channel.unary_unary(path(METHODS["Search"]))
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub(search(image=bytes(17 << 20)).SerializeToString())
        assert raised.value.code() is Code.RESOURCE_EXHAUSTED


async def test_overload_is_refused_at_once_with_advice(serve: Any, tmp_path: Path) -> None:
    gate = threading.Event()
    async with (
        serve(tmp_path, max_queue=256) as service,
        grpc.aio.insecure_channel(service.address) as channel,
    ):
        stub = channel.unary_unary(path(METHODS["EmbedTexts"]))
        service.encoder.before = lambda: gate.wait(20)
        held = asyncio.create_task(service.engine.embed_texts(["a"] * 256))
        await asyncio.sleep(0.05)
        request = embed_pb2.EmbedTextsRequest(texts=["b"]).SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub(request)
        error = raised.value
        assert error.code() is Code.RESOURCE_EXHAUSTED
        delay = (await details_of(error, error_details_pb2.RetryInfo)).retry_delay.ToMilliseconds()
        trailers = {key: value for key, value in error.trailing_metadata()}
        assert delay == int(trailers["grpc-retry-pushback-ms"]) > 0
        gate.set()
        assert len((await held).embeddings) == 256
        assert await stub(request)


async def test_a_stream_waits_where_a_call_is_refused(
    serve: Any, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    gate = threading.Event()
    async with serve(tmp_path, max_queue=256) as service:
        await service.client.create_collection("c")
        service.encoder.before = lambda: gate.wait(20)
        held = asyncio.create_task(service.engine.embed_images([picture()] * 256))
        await asyncio.sleep(0.05)
        upload = asyncio.create_task(service.client.upsert(["a"], collection="c", images=[picture()]))
        await asyncio.sleep(0.3)
        assert not upload.done()
        gate.set()
        await held
        assert await upload == 1


async def test_deadlines_of_callers_and_of_the_server(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = dict.fromkeys(("SearchService", "EmbedService", "CollectionService", "InfoService"), 0.3)
    monkeypatch.setattr(server, "SECONDS", seconds)
    async with serve(tmp_path) as service, grpc.aio.insecure_channel(service.address) as channel:
        stub = channel.unary_unary(path(METHODS["EmbedTexts"]))
        service.encoder.before = lambda: time.sleep(0.6)
        begun = time.monotonic()
        either = "Deadline Exceeded|not done within 0.[01]"  # caller and server both watch the time
        for timeout, words in ((0.1, either), (None, "not done within 0.3 s")):
            with pytest.raises(grpc.aio.AioRpcError, match=words) as raised:
                await stub(embed(["a"]).SerializeToString(), timeout=timeout)
            assert raised.value.code() is Code.DEADLINE_EXCEEDED
        assert time.monotonic() - begun < 3


def noisy(random: Random) -> tuple[str, bytes]:
    """A method and bytes for it: any bytes, or a valid request with a byte changed or its end cut off."""
    name, data = random.choice(SAMPLES)
    kind = random.randrange(3)
    place = random.randrange(len(data))
    if kind == 0:
        return random.choice(list(METHODS)), random.randbytes(random.randrange(60))
    return name, data[:place] + (random.randbytes(1) + data[place + 1 :] if kind == 1 else b"")


SAMPLES = [(method, request.SerializeToString()[:400]) for method, request, _, _ in CASES.values()]
ALLOWED = {
    Code.OK,
    BAD,
    MISSING,
    LIMIT,
    Code.ALREADY_EXISTS,
    Code.FAILED_PRECONDITION,
    Code.UNIMPLEMENTED,  # captions and matching
}


async def test_random_bytes_get_only_documented_codes(serve: Any, tmp_path: Path, new_encoder: Any) -> None:
    random = Random(7)
    async with asked(serve, tmp_path, new_encoder) as (service, call):

        async def code_of(method: str, data: bytes) -> grpc.StatusCode:
            try:
                await asyncio.wait_for(call(method, data), 20)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return Code.OK

        codes = Counter[grpc.StatusCode]()
        for _ in range(32):
            codes.update(await asyncio.gather(*(code_of(*noisy(random)) for _ in range(32))))
        assert set(codes) <= ALLOWED
        assert min(codes[BAD], codes[Code.OK], codes[MISSING]) > 5  # the noise does get somewhere
        assert (await service.client.info()).model.name == "fake"


async def test_control_without_the_interceptor_such_bytes_are_answered_unknown(
    serve: Any, tmp_path: Path, new_encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def let_through(self: Any, continuation: Any, details: Any) -> Any:
        return await continuation(details)

    monkeypatch.setattr(server.Interceptor, "intercept_service", let_through)
    async with serve(tmp_path) as service, grpc.aio.insecure_channel(service.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(path(METHODS["Search"]))(b"\xff\xff\xff")
        assert raised.value.code() not in ALLOWED
