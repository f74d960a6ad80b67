"""Versions, idempotency keys, filters, ranges, diversity, effort and aliases, over gRPC."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from polylens.errors import InvalidInput
from polylens.service.client import Client
from polylens.service.errors import BatchError, RemoteError
from polylens.service.records import Effort

POINTS = np.random.default_rng(1).standard_normal((40, 16)).astype(np.float32)
IDS = [f"p{i}" for i in range(40)]


@pytest.fixture
def client(running: Any) -> Iterator[Client]:
    with Client(running.address) as client:
        client.create_collection("c", index="Flat")
        client.upsert(IDS, collection="c", vectors=POINTS, metadata=[{"i": i} for i in range(40)])
        yield client


def refused(code: str, words: str = "") -> Any:
    return pytest.raises(RemoteError, match=f"{words}.*({code})")


def test_a_write_of_an_outdated_version_stores_nothing(client: Client) -> None:
    first, second = (point.version for point in client.get(["p0", "p1"], collection="c") if point)
    assert 0 < first < second
    client.upsert(["p0", "new"], collection="c", vectors=POINTS[:2], if_version=[first, 0])
    with refused("ABORTED"):
        client.upsert(["p1", "p0"], collection="c", vectors=POINTS[:2], if_version=[None, first])
    assert client.get(["p1"], collection="c")[0].version == second
    with refused("ABORTED"):
        client.upsert(["new"], collection="c", vectors=POINTS[:1], if_version=[0])
    bad = [POINTS[0], np.full(16, np.nan)]  # all or none, also where one is bad
    with refused("INVALID_ARGUMENT", "NaN"):
        client.upsert(["p2", "p3"], collection="c", vectors=bad, if_version=[None, 7])
    with pytest.raises(BatchError):  # the control: without versions the good one is stored
        client.upsert(["p2", "p3"], collection="c", vectors=bad)


def test_the_same_key_writes_once(client: Client, picture: Any) -> None:
    vectors = np.random.default_rng(2).standard_normal((100, 16))
    ids = [f"new{i}" for i in range(100)]
    assert client.upsert(ids, collection="c", vectors=vectors, idempotency_key="one") == 100
    version = client.get(["new99"], collection="c")[0].version
    assert client.upsert(ids, collection="c", vectors=vectors, idempotency_key="one") == 100
    assert client.get(["new99"], collection="c")[0].version == version
    with refused("INVALID_ARGUMENT"):
        client.upsert(ids, collection="c", vectors=-vectors, idempotency_key="one")
    with refused("INVALID_ARGUMENT", "only points with vectors"):
        client.upsert(["x"], collection="c", images=[picture()], idempotency_key="two")
    assert client.delete(["new0"], collection="c", idempotency_key="gone") == 1
    client.upsert(["new0"], collection="c", vectors=vectors[:1])
    assert client.delete(["new0"], collection="c", idempotency_key="gone") == 1
    assert client.get(["new0"], collection="c") != [None]


def test_filters_in_count_scan_and_delete(client: Client) -> None:
    low = {"i": {"$lt": 10}}
    assert client.count(collection="c", filter=low) == 10 and client.count(collection="c") == 40
    found, after = [], 0
    while True:
        page = client.scan(collection="c", limit=4, after=after, vectors=True, filter=low)
        found += page.points
        if not (after := page.next):
            break
    assert [point.id for point in found] == IDS[:10]
    assert found[3].vector_D @ POINTS[3] / np.linalg.norm(POINTS[3]) == pytest.approx(1, abs=1e-5)
    assert client.delete(collection="c", filter=low) == 10 and client.count(collection="c") == 30
    with refused("INVALID_ARGUMENT", "filter_json"):
        client.count(collection="c", filter={"$where": 1})
    for wrong in ({"ids": ["a"], "filter": low}, {"filter": {}}):
        with pytest.raises(InvalidInput):
            client.delete(collection="c", **wrong)


def test_a_threshold_finds_all_of_that_score(client: Client) -> None:
    every = client.search(vector=POINTS[0], k=40)
    bound = (every[4].score + every[5].score) / 2
    assert [hit.id for hit in client.search(vector=POINTS[0], k=40, threshold=bound)] == [
        hit.id for hit in every[:5]
    ]
    (batch,) = client.batch_search([POINTS[0]], k=3, threshold=bound)
    assert [hit.id for hit in batch] == [hit.id for hit in every[:3]]
    for wrong in ({"diversity": 0.5}, {"effort": Effort(exact=True)}):
        with refused("INVALID_ARGUMENT", "threshold"):
            client.search(vector=POINTS[0], threshold=0.1, **wrong)
    for wrong in ({"threshold": 2.0}, {"diversity": -0.1}, {"diversity": float("nan")}):
        with refused("INVALID_ARGUMENT", "is not from"):
            client.search(vector=POINTS[0], **wrong)


def test_diversity_and_effort_reach_the_collection(client: Client) -> None:
    near = POINTS[0] + 1e-3 * np.random.default_rng(3).standard_normal((5, 16))
    client.upsert([f"twin{i}" for i in range(5)], collection="c", vectors=near)
    plain = [hit.id for hit in client.search(vector=POINTS[0], k=5)]
    diverse = [hit.id for hit in client.search(vector=POINTS[0], k=5, diversity=0.9)]
    assert sum("twin" in id for id in plain) >= 4 > sum("twin" in id for id in diverse)
    exact = client.search(vector=POINTS[0], k=5, effort=Effort(exact=True, nprobe=3, ef_search=9))
    assert [hit.id for hit in exact] == plain
    with refused("INVALID_ARGUMENT"):
        client.search(vector=POINTS[0], effort=Effort(nprobe=100_000))


def test_aliases(client: Client) -> None:
    client.set_alias("latest", "c")
    assert client.aliases() == {"latest": "c"}
    assert client.search("a", collection="latest").collection == "c"
    assert client.count(collection="latest") == 40
    with refused("FAILED_PRECONDITION"):
        client.drop_collection("c")
    client.create_collection("d", dtype="float16")
    client.set_alias("latest", "d")
    assert client.count(collection="latest") == 0
    client.remove_alias("latest")
    assert client.aliases() == {}
    with refused("NOT_FOUND"):
        client.count(collection="latest")
    with refused("ALREADY_EXISTS"):
        client.set_alias("c", "d")
    for wrong in ({"dtype": "int8"}, {"index": "Nonsense"}):
        with refused("INVALID_ARGUMENT"):
            client.create_collection("e", **wrong)
