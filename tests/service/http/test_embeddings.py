"""`POST /v1/embeddings` in every dialect, against the vectors that gRPC gives."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PATH = "/v1/embeddings"


async def test_texts_as_openai_asks_them(serve: Any, tmp_path: Path, ask: Any) -> None:
    async with serve(tmp_path, http_port=0) as service:
        web, texts = service.server.web.address, ["a cat", "两只猫", "paka"]
        got = await ask(web, PATH, {"model": "fake", "input": texts, "user": "me", "dimensions": 16})
        assert got.status == 200 and got.headers["content-type"] == "application/json"
        assert (got.json["object"], got.json["model"]) == ("list", "fake")
        assert got.json["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
        assert [(one["object"], one["index"]) for one in got.json["data"]] == [
            ("embedding", i) for i in range(3)
        ]
        want = await service.client.embed_texts(texts)
        floats = np.array([one["embedding"] for one in got.json["data"]], np.float32)
        assert np.array_equal(floats, want)
        packed = await ask(web, PATH, {"input": texts, "encoding_format": "base64"})
        rows = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in packed.json["data"]]
        assert np.array_equal(np.stack(rows), want)
        one = await ask(web, PATH, {"input": "a cat"})
        assert one.json["data"] == got.json["data"][:1]


async def test_pictures_in_every_dialect(
    serve: Any, tmp_path: Path, ask: Any, picture: Callable[..., bytes], data_uri: Any
) -> None:
    data = picture((7, 8, 9))
    uri = data_uri(data)
    part = {"type": "image_url", "image_url": {"url": uri}}
    bodies: list[dict[str, Any]] = [
        {"input": [uri], "modality": "image"},
        {"input": uri, "modality": "image"},
        {"input": [uri.removeprefix("data:image/png;base64,")], "modality": "image"},
        {"input": uri},
        {"input": part},
        {"input": [part]},
        {"input": [{"image_url": uri}]},
        {"input": [{"image": uri}]},
        {"messages": [{"role": "user", "content": [part]}]},
    ]
    async with serve(tmp_path, http_port=0) as service:
        (want,) = await service.client.embed_images([data])
        for body in bodies:
            got = await ask(service.server.web.address, PATH, body)
            assert got.status == 200, (body, got.content)
            assert np.array_equal(np.array(got.json["data"][0]["embedding"], np.float32), want)
        mixed = {"input": ["a", part, {"type": "text", "text": "b"}, uri, {"text": "c"}]}
        got = await ask(service.server.web.address, PATH, mixed)
        rows = [np.array(one["embedding"], np.float32) for one in got.json["data"]]
        texts = await service.client.embed_texts(["a", "b", "c"])
        for row, twin in zip(rows, [texts[0], want, texts[1], want, texts[2]], strict=True):
            assert np.array_equal(row, twin)
        as_text = await ask(service.server.web.address, PATH, {"input": uri, "modality": "text"})
        assert not np.array_equal(np.array(as_text.json["data"][0]["embedding"], np.float32), want)
        words = {"messages": [{"role": "user", "content": "a"}]}
        got = await ask(service.server.web.address, PATH, words)
        assert np.array_equal(np.array(got.json["data"][0]["embedding"], np.float32), texts[0])


WRONG: list[tuple[Any, int, str | None, str]] = [
    ({}, 400, "input", "one of input and messages"),
    ({"input": []}, 400, "input", "empty"),
    ({"input": ["a", " "]}, 400, "input[1]", "the text is empty"),
    ({"input": ["a", 7]}, 400, "input[1]", "token ids"),
    ({"input": [[1, 2]]}, 400, "input[0]", "token ids"),
    ({"input": "\ud800"}, 400, "input", "surrogate"),
    ({"input": ["x" * 40_000]}, 413, None, "40000 bytes"),
    ({"input": ["a"] * 257}, 413, None, "257 entries"),
    ({"input": "a", "model": "gpt"}, 404, "model", "runs the model 'fake'"),
    ({"input": "a", "dimensions": 8}, 400, "dimensions", "16"),
    ({"input": "a", "encoding_format": "int8"}, 400, "encoding_format", "float or base64"),
    ({"input": "a", "modality": "audio"}, 400, "modality", "text or image"),
    ({"input": "a", "inputs": "b"}, 400, "inputs", "unknown"),
    ({"input": ["https://example.org/cat.png"], "modality": "image"}, 400, "input[0]", "not fetched"),
    ({"input": [{"image_url": {"url": "file:///etc/passwd"}}]}, 400, "input[0].image_url", "not fetched"),
    (
        {"input": [{"image_url": {"url": "data:text/html;base64,AAAA"}}]},
        400,
        "input[0].image_url",
        "data:image",
    ),
    ({"input": ["data:image/png;base64,AAAA"]}, 400, "input[0]", "no image"),
    ({"input": ["data:image/png;base64,A$A"]}, 400, "input[0]", "not base64"),
    ({"input": [{"type": "audio", "audio": "x"}]}, 400, "input[0]", "one of text, image"),
    ({"input": [{"text": 3}]}, 400, "input[0].text", "expected a text, got a number"),
    ({"messages": [{"content": [{"text": "a"}, {"text": "b"}]}]}, 400, "messages", "one part"),
    ({"input": ["poison"]}, 500, None, "internal error"),
    (b"{", 400, None, "not JSON"),
    (b"[1]", 400, None, "JSON list"),
    (b'{"input": NaN}', 400, None, "NaN"),
    (b"\xff", 400, None, "UTF-8"),
    (b"[" * 100_000, 400, None, "not JSON"),
]


async def test_each_wrong_body_has_its_status_and_words(serve: Any, tmp_path: Path, ask: Any) -> None:
    async with serve(tmp_path, http_port=0) as service:
        for body, status, param, words in WRONG:
            got = await ask(service.server.web.address, PATH, body)
            assert got.status == status, (body, got.content)
            assert words in got.error["message"] and got.error["param"] == param, (body, got.error)
            assert got.error["type"] in ("invalid_request_error", "server_error") and got.error["code"]
            assert b"secret" not in got.content and b"Traceback" not in got.content
        assert (await ask(service.server.web.address, PATH, {"input": "still here"})).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_other_content_types_are_refused(serve: Any, tmp_path: Path, ask: Any, kind: str) -> None:
    async with serve(tmp_path, http_port=0) as service:
        got = await ask(service.server.web.address, PATH, {"input": "a"}, content_type=kind)
        assert got.status == 400 and "application/json" in got.error["message"]


async def test_a_body_over_the_limit_is_refused_before_it_is_read(
    serve: Any, tmp_path: Path, ask: Any
) -> None:
    async with serve(tmp_path, http_port=0) as service:
        got = await ask(service.server.web.address, PATH, b"{}", content_length=str(10**9))
        assert got.status == 413 and "1000000000 bytes" in got.error["message"]
