"""What goes into a message comes out of it, byte for byte where bytes are promised."""

import json
from typing import Any

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.proto.polylens.v1 import collection_pb2, search_pb2
from polylens.service import converters as to
from polylens.service.encoding import object_from_json, object_to_json, vector_from_bytes, vector_to_bytes
from polylens.service.errors import InvalidField, TooLarge
from polylens.service.records import (
    CollectionInfo,
    Embedding,
    Fault,
    Hit,
    IdQuery,
    ImageQuery,
    ModelInfo,
    Point,
    SearchResult,
    ServerInfo,
    StoredPoint,
    TextQuery,
    Timings,
    VectorQuery,
)
from polylens.service.settings import Limits

TIMINGS = Timings(1.0, 2.0, 3.0, 4.0, 10.5)
VECTOR = np.array([0.5, -1.5, 3.25], np.float32)


def test_vectors_are_little_endian_floats() -> None:
    assert vector_to_bytes(np.array([1.0, -2.0], np.float32)).hex() == "0000803f000000c0"
    assert vector_from_bytes(bytes.fromhex("0000803f000000c0")).tolist() == [1.0, -2.0]


@pytest.mark.parametrize("kind", [">f4", "<f4", "f8", "f2"])
def test_vectors_of_other_layouts(kind: str) -> None:
    every_other = np.arange(6, dtype=kind)[::2]
    assert vector_from_bytes(vector_to_bytes(every_other)).tolist() == [0, 2, 4]
    assert vector_from_bytes(vector_to_bytes(every_other)).dtype == np.float32


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"": None, "a b": True, "日本語": "猫 \u2028 \0 \n", "emoji": "🦒"},
        {"deep": {"list": [1, -2.5, "x", [], {}, [None, False]]}},
        {"big": 2**63 - 1, "small": -(2**63), "tiny": 5e-324, "huge": 1.7976931348623157e308},
    ],
)
def test_metadata_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert object_from_json(object_to_json(value)) == value


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": b"bytes"}, {"a": {1, 2}}])
def test_what_json_cannot_hold_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        object_to_json(value)


def test_integers_stay_integers() -> None:
    assert object_from_json('{"a": 9007199254740993, "b": 1.0}') == {"a": 2**53 + 1, "b": 1.0}


@pytest.mark.parametrize(
    "text", ["{", "1", "[]", '"a"', "null", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', "9" * 5000]
)
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        object_from_json(text)


def test_limits_of_json_count_bytes() -> None:
    assert object_from_json('{"a":"ü"}', limit=10) == {"a": "ü"}
    with pytest.raises(TooLarge):
        object_from_json('{"a":"ü"}', limit=9)


@pytest.mark.parametrize(
    "query", [TextQuery("kikombe"), ImageQuery(b"png"), IdQuery("a"), VectorQuery(VECTOR)]
)
def test_queries(query: Any) -> None:
    back = to.query_from_proto(to.query_to_proto(query))
    if isinstance(query, VectorQuery):
        assert isinstance(back, VectorQuery) and np.array_equal(back.vector_D, VECTOR)
    else:
        assert back == query


def test_no_query_is_an_error_of_that_field() -> None:
    with pytest.raises(InvalidField) as raised:
        to.query_from_proto(search_pb2.Query())
    assert raised.value.field == "query"


def test_search_results() -> None:
    hits = [Hit("a", 0.5, {"year": 2024, "tags": ["x"]}), Hit("b", -0.25, {})]
    result = SearchResult(hits, "photos", "f" * 64, True, TIMINGS)
    assert to.search_result_from_proto(to.search_result_to_proto(result)) == result
    assert (len(result), result[1].id, [hit.id for hit in result]) == (2, "b", ["a", "b"])


def test_timings_and_faults() -> None:
    assert to.timings_from_proto(to.timings_to_proto(TIMINGS)) == TIMINGS
    faults = [Fault(3, 8, "too large")]
    assert to.faults_from_proto(to.faults_to_proto(faults)) == faults


def test_embeddings() -> None:
    first, missing, last = to.embeddings_from_proto(
        to.embeddings_to_proto([Embedding(VECTOR, True), None, Embedding(-VECTOR)])
    )
    assert missing is None and first is not None and last is not None
    assert (first.truncated, last.truncated) == (True, False)
    assert np.array_equal(first.vector_D, VECTOR) and np.array_equal(last.vector_D, -VECTOR)


def test_points() -> None:
    points = [Point("a", b"png", {"n": 1}), Point("b", VECTOR)]
    image, vector = to.points_from_proto(map(to.point_to_proto, points), Limits())
    assert image == points[0]
    assert isinstance(vector, Point) and np.array_equal(vector.content, VECTOR) and vector.metadata == {}


def test_a_point_that_cannot_be_read_is_its_error() -> None:
    messages = [collection_pb2.Point(id="a"), collection_pb2.Point(id="b", image=b"png")]
    bad, good = to.points_from_proto(messages, Limits())
    assert isinstance(bad, InvalidInput) and good == Point("b", b"png")


def test_stored_points() -> None:
    points = [StoredPoint("a", {"n": 1}), None, StoredPoint("c", {}, VECTOR)]
    first, missing, last = to.stored_from_proto(to.stored_to_proto(["a", "b", "c"], points))
    assert first == points[0] and missing is None
    assert last is not None and np.array_equal(last.vector_D, VECTOR)


def test_collections_and_info() -> None:
    info = CollectionInfo("photos", 768, "f" * 64, 2**40, "a problem")
    assert to.collection_from_proto(to.collection_to_proto(info)) == info
    server = ServerInfo("0.1", ModelInfo("mini", "f" * 64, 256, 80, 50.0), Limits(max_k=7))
    assert to.info_from_proto(to.info_to_proto(server)) == server


def test_the_hits_of_json_are_compact() -> None:
    message = to.search_result_to_proto(SearchResult([Hit("a", 1.0, {"name": "猫", "n": 1})], "c", "f"))
    assert message.hits[0].metadata_json == '{"name":"猫","n":1}'
    assert json.loads(message.hits[0].metadata_json)["name"] == "猫"
