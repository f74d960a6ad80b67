"""A server with Milvus gives the same answers as one whose collections are in a folder."""

import asyncio

import numpy as np
from polylens.service import AsyncClient
from polylens.service.errors import RemoteError

VECTORS = np.random.default_rng(0).standard_normal((12, 16)).astype(np.float32)
IDS = [f"id{n}" for n in range(12)]


async def story(client, picture) -> list:
    """What a client is told, versions left out: they grow in both, in steps of their own."""
    told: list = []

    def note(*parts: object) -> None:
        told.append(parts)

    async def refused(call) -> None:
        try:
            note("no error", await call)
        except RemoteError as error:
            note(type(error).__name__, str(error))

    note(await client.create_collection("birds"))
    await refused(client.create_collection("birds"))
    metadata = [{"n": n, "odd": n % 2 == 1, "tags": ["a", "b"][: n % 3]} for n in range(12)]
    note(await client.upsert(IDS, collection="birds", vectors=VECTORS, metadata=metadata))
    note(await client.upsert(["pic"], collection="birds", images=[picture()]))
    note(await client.upsert(["id3"], collection="birds", vectors=VECTORS[4:5], metadata=[{"n": 99}]))
    for condition in (None, {"odd": True}, {"n": {"$gte": 3, "$lt": 9}}, {"$not": {"tags": "a"}}):
        found = await client.search(collection="birds", vector=VECTORS[0], k=5, filter=condition)
        note([(hit.id, hit.score, hit.metadata) for hit in found], found.collection)
        note(await client.count(collection="birds", filter=condition))
    found = await client.search(collection="birds", id="id5", k=4)
    note([(hit.id, hit.score) for hit in found])
    note([hit.id for hit in await client.search(collection="birds", text="some words", k=3)])
    note([hit.id for hit in await client.search(collection="birds", vector=VECTORS[0], k=20, threshold=0.1)])
    note([hit.id for hit in await client.search(collection="birds", vector=VECTORS[0], k=5, diversity=0.5)])
    note(
        [
            point and (point.id, point.metadata)
            for point in await client.get(["id3", "nobody"], collection="birds")
        ]
    )
    note(await client.delete(["id1", "nobody"], collection="birds"))
    await refused(client.search(collection="fishes", vector=VECTORS[0]))
    note(await client.collections())
    note(await client.scan(collection="birds", limit=3, filter={"odd": True}) is not None)
    return told


def test_the_service_cannot_tell_the_difference(serve, tmp_path, picture):
    async def told_by(place: str) -> list:
        async with serve(place) as service, AsyncClient(service.address, timeout=60) as client:
            return await story(client, picture)

    folder = asyncio.run(told_by(str(tmp_path / "folder")))
    milvus = asyncio.run(told_by(f"milvus+lite:{tmp_path / 'milvus.db'}"))
    assert len(folder) > 15
    for one, other in zip(folder, milvus, strict=True):
        assert one == other
