"""Mixtures and batches of queries give what a naive twin gives, and each bad one only its own error."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from polylens.errors import InvalidInput
from polylens.proto.polylens.v1 import search_pb2
from polylens.service import client as client_module
from polylens.service.client import Client
from polylens.service.errors import BatchError, InvalidField, RemoteError
from polylens.service.methods import METHODS
from polylens.service.records import IdQuery, ImageQuery, MixtureQuery, TextQuery, VectorQuery

POINTS = np.random.default_rng(5).standard_normal((40, 16)).astype(np.float32)
POINTS /= np.linalg.norm(POINTS, axis=1, keepdims=True)


@pytest.fixture
def client(running: Any) -> Any:
    with Client(running.address) as client:
        client.create_collection("c")
        ids = [f"p{i}" for i in range(len(POINTS))]
        client.upsert(ids, collection="c", vectors=POINTS, metadata=[{"i": i} for i in range(len(ids))])
        yield client


def best(vector_D: np.ndarray, k: int, without: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    order = np.argsort(-(POINTS.astype(np.float64) @ vector_D), kind="stable")
    return [name for i in order if (name := f"p{i}") not in without][:k]


@pytest.mark.parametrize(
    "weights", [(1, 1, 1, 1), (2.5, -0.5, 0.25, 0.0), (-1, -1, -1, -1), (100, 1, 1, -100)]
)
def test_a_mixture_is_the_weighted_sum_of_unit_vectors(
    client: Client, running: Any, picture: Callable[..., bytes], weights: tuple[float, ...]
) -> None:
    image, text = picture((9, 8, 7)), "at night"
    (image_D,), text_D = client.embed_images([image]), running.encoder.text_vector(text)
    vectors = np.stack([image_D, text_D, POINTS[3], POINTS[8]]).astype(np.float64)
    given = [image, text, IdQuery("p3"), 7 * POINTS[8]]  # the length of a vector does not count
    found = client.search(mixture=list(zip(given, weights, strict=True)), k=10)
    sum_D = np.array(weights) @ vectors
    assert [hit.id for hit in found] == best(sum_D, 10, without={"p3"})
    scores = [float(POINTS[hit.metadata["i"]] @ sum_D / np.linalg.norm(sum_D)) for hit in found]
    assert [hit.score for hit in found] == pytest.approx(scores, abs=1e-5)


def test_one_part_finds_what_the_plain_query_finds(client: Client) -> None:
    plain, mixed = client.search("a cat", k=7), client.search(mixture=[("a cat", 3.0)], k=7)
    assert [hit.id for hit in plain] == [hit.id for hit in mixed]
    away = client.search(mixture=[("a cat", -1.0)], k=40)
    assert [hit.id for hit in away] == [hit.id for hit in client.search("a cat", k=40)][::-1]


def test_a_missing_weight_means_one_and_zero_means_zero() -> None:
    part = search_pb2.WeightedQuery(query=search_pb2.Query(text="a"))
    zero = search_pb2.WeightedQuery(query=search_pb2.Query(text="a"), weight=0)
    query = search_pb2.Query(mixture=search_pb2.Mixture(parts=[part, zero]))
    read = client_module.calls.to.query_from_proto(query)
    assert read == MixtureQuery([(TextQuery("a"), 1.0), (TextQuery("a"), 0.0)])
    inner = search_pb2.Query(mixture=search_pb2.Mixture())
    nested = search_pb2.Query(mixture=search_pb2.Mixture(parts=[part, search_pb2.WeightedQuery(query=inner)]))
    with pytest.raises(InvalidField, match=r"query.mixture.parts\[1\].query: a mixture inside a mixture"):
        client_module.calls.to.query_from_proto(nested)


@pytest.mark.parametrize(
    ("mixture", "words"),
    [
        ([], "0 parts, expected 1 to 16"),
        ([("a", 1.0)] * 17, "17 parts"),
        ([("a", math.nan)], "a weight is nan"),
        ([("a", 101.0)], "a weight is 101, expected -100 to 100"),
        ([("a", 1.0), ("a", -1.0)], "query.mixture: the parts cancel each other out"),
        ([("a", 0.0)], "cancel each other out"),
        ([("a", 1.0), (" ", 1.0)], r"query.mixture.parts\[1\].query.text: the text is empty"),
        ([(b"no picture", 1.0)], r"query.mixture.parts\[0\].query.image: "),
        ([(np.ones(3), 1.0)], r"parts\[0\].query.vector: .*shape \(3,\)"),
    ],
)
def test_a_mixture_that_makes_no_vector_is_refused(client: Client, mixture: Any, words: str) -> None:
    with pytest.raises(RemoteError, match=words) as raised:
        client.search(mixture=mixture)
    assert raised.value.code == "INVALID_ARGUMENT"


def test_an_unknown_id_in_a_mixture_is_not_found(client: Client) -> None:
    with pytest.raises(RemoteError, match="no point 'p99'") as raised:
        client.search(mixture=[(IdQuery("p1"), 1.0), (IdQuery("p99"), 1.0)])
    assert raised.value.code == "NOT_FOUND"


def test_a_batch_finds_what_single_searches_find(
    client: Client, picture: Callable[..., bytes], tmp_path: Path
) -> None:
    file = tmp_path / "one.png"
    file.write_bytes(picture((1, 2, 3)))
    queries = [
        "a cat",
        file,
        Image.open(file),
        np.full((4, 4, 3), (1, 2, 3), np.uint8),  # the pixels of that picture
        IdQuery("p5"),
        POINTS[6],
        [("a cat", 1.0), (file, -0.5)],
    ] * 20
    found = client.batch_search(queries, k=3, filter={"i": {"$lt": 20}})
    single = [
        client.search("a cat", k=3, filter={"i": {"$lt": 20}}),
        *[client.search(image=file, k=3, filter={"i": {"$lt": 20}})] * 3,
        client.search(id="p5", k=3, filter={"i": {"$lt": 20}}),
        client.search(vector=POINTS[6], k=3, filter={"i": {"$lt": 20}}),
        client.search(mixture=[("a cat", 1.0), (file, -0.5)], k=3, filter={"i": {"$lt": 20}}),
    ] * 20
    assert [one.hits for one in found] == [one.hits for one in single]
    assert found[0].collection == "c" and found[0].timings.total_ms > 0
    assert client.batch_search([]) == []


def test_a_batch_is_embedded_together(client: Client, running: Any) -> None:
    running.encoder.batches.clear()
    client.batch_search([f"text {i}" for i in range(30)], k=1)
    assert running.encoder.batches == [30] or sum(running.encoder.batches) == 30 > len(
        running.encoder.batches
    )


def test_bad_queries_of_a_batch_leave_their_neighbours_alone(client: Client, tmp_path: Path) -> None:
    queries = [
        "fine",
        " ",
        IdQuery("nobody"),
        "poison",
        tmp_path / "absent.png",
        b"no picture",
        np.ones(3),
        "well",
    ]
    with pytest.raises(BatchError) as raised:
        client.batch_search([*queries, []], k=2)
    codes = [(fault.index, fault.code) for fault in raised.value.faults]
    assert codes == [(1, 3), (2, 5), (3, 13), (4, 3), (5, 3), (6, 3), (8, 3)]
    assert "queries[1].text" in raised.value.faults[0].message
    assert "secret" not in raised.value.faults[2].message
    answers = raised.value.result
    assert [answer is not None for answer in answers] == [i in (0, 7) for i in range(9)]
    assert [hit.id for hit in answers[7]] == [hit.id for hit in client.search("well", k=2)]


def test_limits_of_a_batch(client: Client) -> None:
    wide = [("a", 1.0)] * 16
    assert len(client.batch_search([wide] * 40, k=1000)) == 40  # cut into requests that are within the limits
    message = client_module.calls.to.query_to_proto(TextQuery("a"))
    stub = client._stubs._stubs["BatchSearch"]
    for queries, k, words in (([message] * 257, 1, "257 entries"), ([message] * 11, 1000, "10000 in all")):
        with pytest.raises(client_module.grpc.RpcError, match=words):
            stub(search_pb2.BatchSearchRequest(collection="c", queries=queries, k=k))


def test_what_is_no_query_is_refused_before_asking() -> None:
    with Client("localhost:1") as nobody:
        for wrong in (3, None, {"text": "a"}, [(object(), 1.0)]):
            with pytest.raises(BatchError, match="entry 0: a query is a text, a picture"):
                nobody.batch_search([wrong])
        with pytest.raises(InvalidInput, match="array of float64 and shape"):
            nobody.search(image=np.zeros((2, 2, 3)))


@pytest.mark.parametrize("query", [TextQuery("a"), ImageQuery(b"x"), IdQuery("i"), VectorQuery(POINTS[0])])
def test_queries_are_queries_already(query: Any) -> None:
    assert client_module.calls.as_query(query) is query
    assert client_module.calls.as_query(MixtureQuery([(query, 1.0)])).parts[0][0] is query


def test_every_reply_has_its_timings() -> None:
    assert [name for name, one in METHODS.items() if "timings" not in one.output_type.fields_by_name] == []
