"""A real server on a free port, asked by the asynchronous client."""

import io

import grpc
import numpy as np
import pytest
from PIL import Image
from polylens.service.client import AsyncClient
from polylens.service.errors import BatchError, RemoteError

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


async def filled(service, picture):
    await service.client.create_collection("colours")
    return await service.client.upsert(
        list(COLOURS),
        collection="colours",
        images=[picture(colour) for colour in COLOURS.values()],
        metadata=[{"name": name, "order": i} for i, name in enumerate(COLOURS)],
    )


async def test_what_was_stored_is_found_by_image_id_vector_and_text(serve, tmp_path, picture) -> None:
    async with serve(tmp_path) as service:
        client = service.client
        assert await filled(service, picture) == 3
        for query in ({"image": picture(COLOURS["green"])}, {"vector": (await client.embed_images([picture(COLOURS["green"])]))[0] * 7}):
            found = await client.search(**query, collection="colours", k=2)
            assert found[0].id == "green" and found[0].score == pytest.approx(1, abs=1e-5)
            assert found[0].metadata == {"name": "green", "order": 1}
            assert len(found) == 2 and found.collection == "colours" and not found.truncated
            assert found.fingerprint == service.encoder.fingerprint
        by_id = await client.search(id="green", collection="colours")
        assert sorted(hit.id for hit in by_id) == ["blue", "red"]  # not itself
        by_text = await client.search("anything", k=3)  # the only collection
        assert len(by_text) == 3 and by_text.timings.total_ms >= by_text.timings.encode_ms > 0
        filtered = await client.search("anything", filter={"order": {"$gte": 1}, "name": "blue"})
        assert [hit.id for hit in filtered] == ["blue"]
