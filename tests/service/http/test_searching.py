"""Search, classification, collections and pictures over HTTP, against what gRPC gives."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

COLOURS = {"red": (200, 0, 0), "a/b ü%": (0, 200, 0), "blue": (0, 0, 200)}


async def fill(client: Any, picture: Callable[..., bytes], paths: dict[str, str] | None = None) -> None:
    await client.create_collection("colours")
    metadata = [{"order": i, "path": (paths or {}).get(id, "")} for i, id in enumerate(COLOURS)]
    images = [picture(colour) for colour in COLOURS.values()]
    await client.upsert(list(COLOURS), collection="colours", images=images, metadata=metadata)


async def test_each_kind_of_query(
    serve: Any, tmp_path: Path, ask: Any, picture: Callable[..., bytes], data_uri: Any
) -> None:
    async with serve(tmp_path, http_port=0) as service:
        web, client = service.server.web.address, service.client
        await fill(client, picture)
        image, (vector,) = picture(COLOURS["blue"]), await client.embed_images([picture(COLOURS["blue"])])
        for body, query in (
            ({"text": "paka"}, {"text": "paka"}),
            ({"image": data_uri(image)}, {"image": image}),
            ({"id": "red"}, {"id": "red"}),
            ({"vector": vector.tolist()}, {"vector": vector}),
            (
                {"mixture": [{"image": data_uri(image)}, {"text": "paka", "weight": -0.5}]},
                {"mixture": [(image, 1), ("paka", -0.5)]},
            ),
            (
                {"text": "paka", "filter": {"order": {"$gt": 0}}},
                {"text": "paka", "filter": {"order": {"$gt": 0}}},
            ),
        ):
            got = await ask(web, "/v1/search", {**body, "k": 2})
            want = await client.search(**query, k=2)
            assert got.status == 200, got.content
            assert [hit["id"] for hit in got.json["hits"]] == [hit.id for hit in want]
            assert [hit["score"] for hit in got.json["hits"]] == pytest.approx([hit.score for hit in want])
            assert got.json["hits"][0]["metadata"] == want[0].metadata
        assert got.json["collection"] == "colours" and got.json["truncated"] is False
        assert got.json["timings"]["total_ms"] > 0 and got.json["model"] == "fake"
        assert (await ask(web, "/v1/search", {"text": "word " * 9})).json["truncated"] is True
        none = await ask(web, "/v1/search", {"text": "paka", "threshold": 0.999})
        exact = await ask(web, "/v1/search", {"text": "paka", "effort": {"exact": True}, "diversity": 0.5})
        assert none.json["hits"] == [] and len(exact.json["hits"]) == 3


WRONG: list[tuple[Any, int, str | None]] = [
    ({}, 400, "query"),
    ({"text": "a", "id": "red"}, 400, "query"),
    ({"text": ""}, 400, "text"),
    ({"text": 7}, 400, "text"),
    ({"image": "data:image/png;base64,AAAA"}, 400, "image"),
    ({"image": "http://example.org/a.png"}, 400, "image"),
    ({"vector": [1.0, 2.0]}, 400, "vector"),
    ({"vector": ["a"]}, 400, "vector"),
    ({"vector": [10**400] * 16}, 400, "vector"),
    ({"vector": [1e300] * 16}, 400, "vector"),
    ({"id": "nobody"}, 404, None),
    ({"text": "a", "k": 0}, 400, "k"),
    ({"text": "a", "k": "3"}, 400, "k"),
    ({"text": "a", "k": True}, 400, "k"),
    ({"text": "a", "filter": []}, 400, "filter"),
    ({"text": "a", "filter": {"$where": 1}}, 400, "filter"),
    ({"text": "a", "collection": "none"}, 404, None),
    ({"text": "a", "collection": "../x"}, 400, None),
    ({"text": "a", "colection": "x"}, 400, "colection"),
    ({"text": "a", "effort": {"nprobes": 1}}, 400, "effort.nprobes"),
    ({"text": "a", "effort": {"exact": 1}}, 400, "effort.exact"),
    ({"text": "a", "diversity": 2}, 400, "diversity"),
    ({"text": "a", "threshold": "high"}, 400, "threshold"),
    ({"text": "a", "threshold": 10**400}, 400, "threshold"),
    ({"text": "a", "threshold": 0.1, "diversity": 0.1}, 400, "threshold"),
    ({"mixture": []}, 400, "mixture"),
    ({"mixture": ["a"]}, 400, "mixture[0]"),
    ({"mixture": [{"text": "a", "weight": "1"}]}, 400, "mixture[0].weight"),
    ({"mixture": [{"text": "a"}, {"text": " "}]}, 400, "mixture[1].text"),
    ({"mixture": [{"text": "a", "mixture": []}]}, 400, "mixture[0].mixture"),
    ({"mixture": [{"text": "a"}, {"text": "a", "weight": -1}]}, 400, "mixture"),
]


async def test_each_wrong_search_has_its_status_and_its_field(
    serve: Any, tmp_path: Path, ask: Any, picture: Callable[..., bytes]
) -> None:
    async with serve(tmp_path, http_port=0) as service:
        await fill(service.client, picture)
        for body, status, param in WRONG:
            got = await ask(service.server.web.address, "/v1/search", body)
            assert (got.status, got.error["param"]) == (status, param), (body, got.content)


async def test_classification(
    serve: Any, tmp_path: Path, ask: Any, picture: Callable[..., bytes], data_uri: Any
) -> None:
    images, labels = [picture(), picture((1, 2, 3))], ["cat", "猫", "paka"]
    async with serve(tmp_path, http_port=0) as service:
        web = service.server.web.address
        body = {
            "images": [data_uri(one) for one in images],
            "labels": labels,
            "templates": ["a {}"],
            "top": 2,
        }
        got = await ask(web, "/v1/classify", body)
        want = await service.client.classify(images, labels, templates=["a {}"], top=2)
        told = [[one["label"] for one in scores] for scores in got.json["classifications"]]
        assert told == [[one.label for one in scores] for scores in want]
        for wrong, param in (
            ({"labels": []}, "labels"),
            ({"images": ["x"]}, "images[0]"),
            ({"top": -1}, "top"),
        ):
            refused = await ask(web, "/v1/classify", {**body, **wrong})
            assert (refused.status, refused.error["param"]) == (400, param)


async def test_collections_and_models(
    serve: Any, tmp_path: Path, ask: Any, picture: Callable[..., bytes]
) -> None:
    async with serve(tmp_path, http_port=0) as service:
        await fill(service.client, picture)
        got = await ask(service.server.web.address, "/v1/collections")
        (one,) = got.json["collections"]
        assert (one["name"], one["dim"], one["count"], one["problem"]) == ("colours", 16, 3, "")
        models = await ask(service.server.web.address, "/v1/models")
        assert [model["id"] for model in models.json["data"]] == ["fake"]


def folder_of_pictures(folder: Path) -> dict[str, str]:
    """Two pictures below `folder`/open, one beside it, and a link that leads out."""
    (folder / "open").mkdir()
    note = Image.Exif()
    note[0x010F] = "a secret camera"
    for name, colour in (
        ("open/red.jpg", (200, 0, 0)),
        ("open/green.png", (0, 200, 0)),
        ("secret.png", (9, 9, 9)),
    ):
        Image.new("RGB", (900, 600), colour).save(folder / name, exif=note)
    (folder / "open" / "link.png").symlink_to(folder / "secret.png")
    (folder / "open" / "note.txt").write_text("no picture")
    return {
        "red": str(folder / "open" / "red.jpg"),
        "a/b ü%": "green.png",
        "blue": str(folder / "secret.png"),
    }


async def test_pictures_below_the_folder_are_shown_small_and_no_others(
    serve: Any, tmp_path: Path, ask: Any, picture: Callable[..., bytes]
) -> None:
    paths = folder_of_pictures(tmp_path)
    async with serve(tmp_path / "data", http_port=0, pictures=tmp_path / "open") as service:
        web = service.server.web.address
        await fill(service.client, picture, paths)
        hits = (await ask(web, "/v1/search", {"text": "any"})).json["hits"]
        shown = {hit["id"]: hit["picture"] for hit in hits}
        assert shown == {
            "red": "/v1/pictures/colours/red",
            "a/b ü%": "/v1/pictures/colours/a%2Fb%20%C3%BC%25",
            "blue": None,
        }
        for id, colour in (("red", (200, 0, 0)), ("a/b ü%", (0, 200, 0))):
            got = await ask(web, shown[id])
            assert got.status == 200 and got.headers["content-type"] == "image/webp"
            image = Image.open(io.BytesIO(got.content))
            assert image.size == (384, 256) and not image.getexif() and b"secret" not in got.content
            assert np.abs(np.asarray(image)[5, 5].astype(int) - colour).max() < 12
        outside = [
            "../secret.png",
            "link.png",
            "note.txt",
            "/etc/passwd",
            "a\0b",
            "absent.png",
            str(tmp_path / "secret.png"),
        ]
        for path in outside:
            await service.client.upsert(
                ["blue"], collection="colours", vectors=[np.ones(16)], metadata=[{"path": path}]
            )
            got = await ask(web, "/v1/pictures/colours/blue")
            assert got.status == 404 and str(tmp_path) not in got.content.decode()
        for path in (
            "/v1/pictures/colours/nobody",
            "/v1/pictures/none/red",
            "/v1/pictures/colours/..%2Fsecret.png",
        ):
            assert (await ask(web, path)).status == 404


async def test_pictures_that_the_server_was_told_of(
    serve: Any, tmp_path: Path, ask: Any, picture: Callable[..., bytes]
) -> None:
    file = tmp_path / "clear.png"
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(file)
    files = {"colours": {"red": file, "blue": tmp_path / "absent.png"}}
    async with serve(tmp_path / "data", None, files, http_port=0) as service:
        web = service.server.web.address
        await fill(service.client, picture, {"a/b ü%": str(file)})
        hits = (await ask(web, "/v1/search", {"text": "any"})).json["hits"]
        assert {hit["id"] for hit in hits if hit["picture"]} == {"red", "blue"}
        image = Image.open(io.BytesIO((await ask(web, "/v1/pictures/colours/red")).content))
        assert image.size == (20, 20) and np.asarray(image).min() > 250  # what was clear is white
        assert (await ask(web, "/v1/pictures/colours/blue")).status == 404
        assert (await ask(web, "/v1/pictures/colours/a%2Fb%20%C3%BC%25")).status == 404
