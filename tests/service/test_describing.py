"""Captions, matching and reranking by a tiny untrained InternVL-G, against the network asked one by one."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polylens
import pytest
import torch
from polylens.cli import app
from polylens.clip.encoder import Encoder
from polylens.clip.reader import PROMPT, reader_of
from polylens.service.capabilities import Capabilities
from polylens.service.errors import BatchError, RemoteError
from polylens.service.run import plain
from polylens.service.settings import Settings
from typer.testing import CliRunner

TEXTS = ["a red apple", "kikombe cha chai", "两只猫"]
COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (90, 90, 0), (0, 200, 200)]


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return polylens.load(tiny_model, head="G")


@pytest.fixture
def able(serve: Any, encoder: Encoder, tmp_path: Path) -> Callable[..., Any]:
    """`async with able(**settings) as service` serves the tiny InternVL-G."""

    @asynccontextmanager
    async def begin(**settings: Any) -> AsyncIterator[Any]:
        capabilities = plain(Settings(), [encoder])
        async with serve(
            tmp_path / "data", encoder, capabilities=capabilities, warm_up=False, **settings
        ) as service:
            yield service

    return begin


@torch.no_grad()
def captions_twin(
    encoder: Any, images: list[bytes], prompt: str, beams: int, least: int, most: int
) -> list[str]:
    model, found = encoder.model, []
    for image in images:
        pixels = torch.from_numpy(encoder.prepare_image(image))[None]
        ids, mask = model.tokenizer.encode_prompts([prompt])
        options = {"num_beams": beams, "min_new_tokens": least, "max_new_tokens": most}
        found.append(model.tokenizer.decode(model.network.generate(pixels, ids, mask, **options)[0]).strip())
    return found


@torch.no_grad()
def matches_twin(encoder: Any, images: list[bytes], texts: list[str]) -> np.ndarray:
    model, found = encoder.model, []
    for image in images:
        pixels = torch.from_numpy(encoder.prepare_image(image))[None]
        for text in texts:
            logits = model.network.match(pixels, model.tokenizer([text], prefix="", pad_to_max=False))
            found.append(float(logits.softmax(dim=1)[0, 1]))
    return np.array(found).reshape(len(images), len(texts))


async def test_captions_equal_those_of_the_network_alone(
    able: Any, encoder: Encoder, picture: Callable[..., bytes]
) -> None:
    images = [picture(colour, 40) for colour in COLOURS]
    async with able() as service:
        client = service.client
        usual, greedy, other = await asyncio.gather(  # of different kinds, in batches of each other's
            client.caption(images, max_tokens=12),
            client.caption(images[:2], beams=1, min_tokens=0, max_tokens=6),
            client.caption(images[2:], prompt="kikombe:", beams=3, max_tokens=9),
        )
        info = await client.info()
    assert usual == captions_twin(encoder, images, PROMPT, 5, 8, 12)
    assert greedy == captions_twin(encoder, images[:2], PROMPT, 1, 0, 6)
    assert other == captions_twin(encoder, images[2:], "kikombe:", 3, 8, 9)
    assert len({*usual, *greedy, *other}) > 3  # else it would say nothing about the images
    assert info.capabilities == ("caption", "match")


async def test_matches_equal_those_of_the_network_alone(
    able: Any, encoder: Encoder, picture: Callable[..., bytes]
) -> None:
    images = [picture(colour, 40) for colour in COLOURS]
    async with able() as service:
        got = await service.client.match(images, TEXTS)
        alone = await service.client.match(images[:1], TEXTS[1:2])
    want = matches_twin(encoder, images, TEXTS)
    assert got.shape == want.shape and np.allclose(got, want, atol=1e-5)
    assert np.allclose(alone, want[:1, 1:2], atol=1e-5)
    assert np.ptp(want, axis=0).min() > 1e-4 and np.ptp(want, axis=1).min() > 1e-4  # all are told apart


async def test_a_bad_image_leaves_its_neighbours_alone(able: Any, picture: Callable[..., bytes]) -> None:
    images = [picture((1, 2, 3)), b"no picture", picture((3, 2, 1))]
    async with able() as service:
        with pytest.raises(BatchError) as raised:
            await service.client.caption(images, beams=1, max_tokens=8)
        assert [fault.index for fault in raised.value.faults] == [1]
        assert raised.value.result[0] and raised.value.result[2]
        with pytest.raises(BatchError) as raised:
            await service.client.match(images, TEXTS)
        assert np.isfinite(raised.value.result).all(axis=1).tolist() == [True, False, True]


async def test_hits_are_put_in_the_order_of_their_matches(
    able: Any, encoder: Encoder, picture: Callable[..., bytes], tmp_path: Path, ask: Any
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    images = {f"{i}.png": picture(colour, 40) for i, colour in enumerate(COLOURS)}
    for name, data in images.items():
        (folder / name).write_bytes(data)
    (folder / "3.png").write_bytes(b"broken by now")
    (folder / "4.png").unlink()
    async with able(pictures=folder, http_port=0) as service:
        client = service.client
        await client.create_collection("c")
        metadata = [{"path": name} for name in images]
        await client.upsert(list(images), collection="c", images=list(images.values()), metadata=metadata)
        text = TEXTS[1]
        plain = await client.search(text)
        got = await client.search(text, rerank=5)
        want = matches_twin(encoder, list(images.values())[:3], [text])[:, 0]
        assert [hit.id for hit in got][:3] == [f"{i}.png" for i in np.argsort(-want)]
        assert [hit.match for hit in got][:3] == pytest.approx(sorted(want, reverse=True), abs=1e-5)
        assert [hit.match for hit in got][3:] == [None, None] and got.looked_at == 3
        order = [hit.id for hit in plain]
        assert [hit.id for hit in got][3:] == [id for id in order if id in ("3.png", "4.png")]
        assert {hit.id: hit.score for hit in got} == {hit.id: hit.score for hit in plain}
        one = await client.search(text, rerank=5, k=1)
        assert [hit.id for hit in one] == [got[0].id]
        like = await client.search(id="0.png", rerank=2, rerank_text=text)
        assert like.looked_at <= 2
        (few,) = [hit for hit in (await client.search(text, rerank=1)) if hit.match is not None] or [None]
        assert few is None or few.id == order[0]  # only the nearest is looked at
        body = {"text": text, "first": 5}
        over_http = await ask(service.server.web.address, "/v1/rerank", body)
        assert [hit["id"] for hit in over_http.json["hits"]] == [hit.id for hit in got]
        assert over_http.json["looked_at"] == 3 and "match" not in over_http.json["hits"][4]
        shown = await asyncio.to_thread(
            CliRunner().invoke, app, ["search", text, "--rerank", "5", "--server", service.address]
        )
        assert shown.exit_code == 0 and "match" in shown.stdout


async def test_captions_and_matches_over_HTTP_and_from_the_command_line(
    able: Any, picture: Callable[..., bytes], ask: Any, data_uri: Any, tmp_path: Path
) -> None:
    images = [picture(colour, 40) for colour in COLOURS[:2]]
    (tmp_path / "a.png").write_bytes(images[0])
    async with able(http_port=0) as service:
        web, client = service.server.web.address, service.client
        said = await client.caption(images)
        uris = [*map(data_uri, images)]
        assert (await ask(web, "/v1/captions", {"images": uris})).json["captions"] == said
        matched = await ask(web, "/v1/match", {"images": uris, "texts": TEXTS})
        assert np.allclose(matched.json["matches"], await client.match(images, TEXTS), atol=1e-6)
        refused = await ask(web, "/v1/captions", {"images": [*uris, data_uri(b"no")]})
        assert refused.status == 400
        command = ["caption", str(tmp_path / "a.png"), "--server", service.address]
        shown = await asyncio.to_thread(CliRunner().invoke, app, [*command, "--json"])
        assert json.loads(shown.stdout) == {"a.png": said[0]}
        shown = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert shown.exit_code == 0 and "a.png" in shown.stdout


@pytest.mark.parametrize(
    ("method", "arguments", "code", "message"),
    [
        ("caption", {"beams": 11}, "INVALID_ARGUMENT", "beams"),
        ("caption", {"max_tokens": 200}, "INVALID_ARGUMENT", "max_tokens"),
        ("caption", {"min_tokens": 20, "max_tokens": 9}, "INVALID_ARGUMENT", "min_tokens"),
        ("caption", {"prompt": " "}, "INVALID_ARGUMENT", "prompt"),
        ("caption", {"prompt": "neno " * 200}, "INVALID_ARGUMENT", "prompt"),
        ("match", {"texts": []}, "INVALID_ARGUMENT", "texts"),
        ("match", {"texts": ["a", " "]}, "INVALID_ARGUMENT", r"texts\[1\]"),
        ("search", {"text": "a", "rerank": 300}, "INVALID_ARGUMENT", "first"),
        ("search", {"id": "x", "rerank": 3}, "INVALID_ARGUMENT", "text"),
    ],
)
async def test_what_cannot_be_is_refused(
    able: Any, picture: Callable[..., bytes], method: str, arguments: Any, code: str, message: str
) -> None:
    async with able() as service:
        ask = getattr(service.client, method)
        with pytest.raises(RemoteError, match=message) as raised:
            await (ask(**arguments) if method == "search" else ask([picture()], **arguments))
        assert raised.value.code == code


async def test_a_model_that_cannot_says_so(
    serve: Any, tmp_path: Path, picture: Callable[..., bytes], ask: Any, data_uri: Any
) -> None:
    async with serve(tmp_path, http_port=0) as service:
        client = service.client
        for call in (
            client.caption([picture()]),
            client.match([picture()], ["a"]),
            client.search("a", rerank=3),
        ):
            with pytest.raises(RemoteError, match="InternVL-G") as raised:
                await call
            assert raised.value.code == "UNIMPLEMENTED"
        assert (await client.info()).capabilities == ()
        body = {"images": [data_uri(picture())]}
        assert (await ask(service.server.web.address, "/v1/captions", body)).status == 501


def test_only_InternVL_G_reads(tiny_model: Path, encoder: Encoder, tmp_path: Path) -> None:
    assert reader_of(encoder) is not None
    shutil.copytree(tiny_model, tmp_path / "c")
    assert reader_of(polylens.load(tmp_path / "c", head="C")) is None
    assert Capabilities().names == ()
