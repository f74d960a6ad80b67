"""Requests that nobody sane sends: sound ones with damage, fields filled at random, bytes of no meaning."""

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from polylens.proto.polylens.v1 import classify_pb2, collection_pb2, embed_pb2, info_pb2, search_pb2
from polylens.service.methods import METHODS

from .pictures import DAMAGE, encoded, made

COLLECTION = "campaign"
PICTURE = encoded(made("RGB", (17, 9)), "PNG")
TEXTS = (
    "",
    " ",
    "a red apple",
    "两只猫",
    "\0",
    "\u202e\ufeff",
    "👩‍🚀" * 40,
    "x" * 40_000,
    "../../etc/passwd",
    COLLECTION,
    "a",
    '{"year": 2024}',
    '{"$or": []}',
    '{"a": {"$in": 3}}',
    '{"a": 1e999}',
    '{"a":' * 40 + "1" + "}" * 40,
    "[" * 3000,
    "{",
    "NaN",
    "' OR 1=1 --",
    "%s%n{}{0.__class__}",
    "HNSW32",
    "IVF9999999,PQ3",
    "float16",
)
NUMBERS = (0, 1, 2, 10, -1, 1000, 1001, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, 0.5, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"), 100.0)
INTEGERS = {
    kind: (low, high)
    for kinds, low, high in (
        (("INT32", "SINT32", "SFIXED32", "ENUM"), -(2**31), 2**31 - 1),
        (("INT64", "SINT64", "SFIXED64"), -(2**63), 2**63 - 1),
        (("UINT32", "FIXED32"), 0, 2**32 - 1),
        (("UINT64", "FIXED64"), 0, 2**64 - 1),
    )
    for kind in (getattr(FieldDescriptor, f"TYPE_{name}") for name in kinds)
}
DEEPEST = 6


def sound(dim: int) -> list[tuple[str, Message]]:
    """Requests that a server with a collection `campaign` of that width answers, each with its method."""
    vector = np.ones(dim, "<f4").tobytes()
    queries = [
        search_pb2.Query(text="a red apple"),
        search_pb2.Query(vector=vector),
        search_pb2.Query(id="a"),
    ]
    queries.append(search_pb2.Query(image=PICTURE))
    weighted = [
        search_pb2.WeightedQuery(query=queries[0]),
        search_pb2.WeightedQuery(query=queries[1], weight=-2),
    ]
    queries.append(search_pb2.Query(mixture=search_pb2.Mixture(parts=weighted)))
    point = collection_pb2.Point(id="a", vector=vector, metadata_json='{"year": 2024, "lang": "sw"}')
    pictured = collection_pb2.Point(id="b", image=PICTURE)
    inside: dict[str, Any] = {"collection": COLLECTION}
    condition = '{"year": {"$gte": 2020}}'
    return [
        *(("Search", search_pb2.SearchRequest(**inside, query=one, k=3)) for one in queries),
        (
            "Search",
            search_pb2.SearchRequest(**inside, query=queries[0], filter_json=condition, diversity=0.5),
        ),
        ("Search", search_pb2.SearchRequest(**inside, query=queries[0], threshold=0.1)),
        ("BatchSearch", search_pb2.BatchSearchRequest(**inside, queries=queries, k=2)),
        ("EmbedTexts", embed_pb2.EmbedTextsRequest(texts=["a", "b c"])),
        ("EmbedImages", embed_pb2.EmbedImagesRequest(images=[PICTURE])),
        (
            "Classify",
            classify_pb2.ClassifyRequest(images=[PICTURE], labels=["cat", "狗"], templates=["a {}"]),
        ),
        ("UpsertPoints", collection_pb2.UpsertPointsRequest(**inside, points=[point, pictured])),
        ("UpsertPointsStream", collection_pb2.UpsertPointsStreamRequest(**inside, chunk=3, points=[point])),
        ("DeletePoints", collection_pb2.DeletePointsRequest(**inside, ids=["nobody"])),
        ("GetPoints", collection_pb2.GetPointsRequest(**inside, ids=["a", "b"], with_vectors=True)),
        ("CountPoints", collection_pb2.CountPointsRequest(**inside, filter_json=condition)),
        ("ScanPoints", collection_pb2.ScanPointsRequest(**inside, limit=5)),
        ("GetCollection", collection_pb2.GetCollectionRequest(name=COLLECTION)),
        ("ListCollections", collection_pb2.ListCollectionsRequest()),
        ("CreateCollection", collection_pb2.CreateCollectionRequest(name="other", exist_ok=True)),
        (
            "SetAlias",
            collection_pb2.SetAliasRequest(alias=collection_pb2.Alias(name="x", collection=COLLECTION)),
        ),
        ("ListAliases", collection_pb2.ListAliasesRequest()),
        ("GetInfo", info_pb2.GetInfoRequest()),
    ]


class Noise:
    """Method and bytes of malformed requests, and of well-formed ones that mean nothing."""

    def __init__(self, random: Random, dim: int) -> None:
        self._random, self._dim = random, dim
        self._sound = [(name, message.SerializeToString()) for name, message in sound(dim)]
        self._whole = [data for _, data in self._sound if data]

    def request(self) -> tuple[str, str, bytes]:
        """The kind of noise, the method, the bytes."""
        ways = (self._damaged, self._damaged, self._filled, self._filled, self._meaningless, self._nested)
        return self._random.choice(ways)()

    def _damaged(self) -> tuple[str, str, bytes]:
        name, whole = self._random.choice(self._sound)
        data = bytearray(whole)
        for _ in range(self._random.choice((1, 1, 2, 4))):
            self._random.choice(DAMAGE)(self._random, data, self._whole)
        return "damaged", name, bytes(data)

    def _filled(self) -> tuple[str, str, bytes]:
        name = self._random.choice([one for one in METHODS if one not in ("DropCollection", "RemoveAlias")])
        message = GetMessageClass(METHODS[name].input_type)()
        self._fill(message)
        return "filled at random", name, message.SerializeToString()

    def _meaningless(self) -> tuple[str, str, bytes]:
        size = self._random.choice((1, 3, 20, 200, 5000))
        return "meaningless", self._random.choice(list(METHODS)), self._random.randbytes(size)

    def _nested(self) -> tuple[str, str, bytes]:
        """Lengths within lengths, deeper than a parser should follow."""
        data = b""
        for _ in range(self._random.randint(50, 400)):
            data = bytes([self._random.choice((0x0A, 0x12, 0x2A))]) + _varint(len(data)) + data
        return "nested", self._random.choice(list(METHODS)), data

    def _fill(self, message: Message, depth: int = 0) -> None:
        for field in message.DESCRIPTOR.fields:
            if self._random.random() < 0.25:
                continue
            if field.is_repeated:
                values = getattr(message, field.name)
                for _ in range(self._random.choice((0, 1, 2, 5, 300) if depth == 0 else (0, 1, 2))):
                    if field.message_type is not None:
                        self._nest(values.add(), depth)
                    else:
                        values.append(self._value(field))
            elif field.message_type is not None:
                self._nest(getattr(message, field.name), depth)
            else:
                setattr(message, field.name, self._value(field))

    def _nest(self, message: Message, depth: int) -> None:
        message.SetInParent()
        if depth < DEEPEST:
            self._fill(message, depth + 1)

    def _value(self, field: FieldDescriptor) -> Any:
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._random.choice(TEXTS)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._random.choice((self._floats, lambda: PICTURE[: self._random.randrange(99)]))()
        if field.type == FieldDescriptor.TYPE_BOOL:
            return self._random.random() < 0.5
        if field.type in INTEGERS:
            low, high = INTEGERS[field.type]
            return min(max(self._random.choice(NUMBERS), low), high)
        return self._random.choice(FLOATS)

    def _floats(self) -> bytes:
        width = self._random.choice((self._dim, self._dim, 0, 1, self._dim - 1, self._dim + 1))
        return b"".join(struct.pack("<f", self._random.choice(FLOATS)) for _ in range(width))


class JsonNoise:
    """Bodies for the routes that take JSON: sound ones damaged or with values in the wrong place."""

    def __init__(self, random: Random, examples: dict[str, list[Any]]) -> None:
        self._random = random
        self._examples = [(path, example) for path, known in examples.items() for example in known]
        self._whole = [json.dumps(example).encode() for _, example in self._examples]

    def request(self) -> tuple[str, str, bytes]:
        """The kind of noise, the path, the body."""
        path, example = self._random.choice(self._examples)
        ways: list[Callable[[Any], tuple[str, bytes]]] = [
            self._damaged,
            self._swapped,
            self._swapped,
            self._other,
        ]
        kind, body = self._random.choice(ways)(example)
        return kind, path, body

    def _damaged(self, example: Any) -> tuple[str, bytes]:
        data = bytearray(json.dumps(example, ensure_ascii=False).encode())
        self._random.choice(DAMAGE)(self._random, data, self._whole)
        return "JSON damaged", bytes(data)

    def _swapped(self, example: Any) -> tuple[str, bytes]:
        return "JSON with other values", json.dumps(self._swap(example)).encode()

    def _swap(self, value: Any) -> Any:
        """The value, here and there another in its place."""
        if self._random.random() < 0.15:
            return self._random.choice((*TEXTS, *NUMBERS, *FLOATS, None, True, [], {}, [[]], {"$ne": None}))
        if isinstance(value, dict):
            names = {
                self._random.choice(TEXTS) if self._random.random() < 0.05 else name: one
                for name, one in value.items()
            }
            return {name: self._swap(one) for name, one in names.items()}
        return [self._swap(one) for one in value] if isinstance(value, list) else value

    def _other(self, example: Any) -> tuple[str, bytes]:
        size = self._random.choice((0, 1, 20, 5000))
        return "no JSON", self._random.choice(
            (self._random.randbytes(size), b"[" * size, b'{"a":' * size, b"\xff\xfe")
        )


def frames(random: Random) -> bytes:
    """What a broken HTTP/2 client may say: the preface, settings, then frames of any kind and length."""
    said = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        if random.random() < 0.8
        else random.randbytes(random.randrange(64))
    )
    said += _frame(4, 0, 0, b"")
    for _ in range(random.randint(1, 30)):
        payload = random.randbytes(random.choice((0, 4, 5, 8, 9, 30, 300)))
        said += _frame(
            random.randrange(12), random.randrange(256), random.choice((0, 1, 3, 2**31 - 1)), payload
        )
    return said + random.randbytes(random.randrange(40))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _varint(number: int) -> bytes:
    said = bytearray()
    while number > 127:
        said.append(number & 127 | 128)
        number >>= 7
    return bytes([*said, number])
