"""The whole demo with twelve drawings and a stand-in for the model: collection, server, questions, files."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from polylens.demo import run as demo
from polylens.demo.collection import COLLECTION, fill
from polylens.demo.openmoji import Drawing
from polylens.demo.queries import queries
from polylens.demo.run import Demo, Options
from polylens.errors import PolylensError
from polylens.index import Store
from polylens.service.client import Client
from polylens.service.server import Server

THINGS = {"a cat", "a rocket", "a key"}
ASKED = [one for one in queries() if one.language.tag in {"en", "sw"} and one.meaning in THINGS]
MEANS = {"a cat": "🐈", "paka": "🐈", "a rocket": "🚀", "roketi": "🚀", "a key": "🔑", "ufunguo": "🍕"}
Fake = Callable[[Mapping[str, str]], Any]


@pytest.fixture
def show(fake: Fake, gallery: list[Drawing], files: dict[str, Path]) -> Callable[[Options], Any]:
    """Runs a demo of ASKED with a model that knows MEANS, and returns the model."""

    def run(options: Options) -> Any:
        encoder = fake(MEANS)
        Demo(encoder, gallery, files, ASKED, options).show()
        return encoder

    return run


def test_once_writes_both_files_and_says_where(
    show: Callable[[Options], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(Options(out=tmp_path / "out", once=True))
    content = json.loads((tmp_path / "out" / "demo.json").read_text("utf-8"))
    assert (content["images"], content["dim"]) == (12, 192)
    first = {(one["language"], one["text"]): one["hits"][0] for one in content["queries"]}
    assert len(first) == len(ASKED) and all(len(one["hits"]) == 5 for one in content["queries"])
    assert first["sw", "paka"]["name"] == first["en", "a cat"]["name"] == "cat"
    assert first["en", "a cat"]["score"] == pytest.approx(1, abs=1e-5)
    assert first["sw", "ufunguo"]["name"] == "pizza"  # control: this model gets the Swahili key wrong
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.format == "PNG"
    said = capsys.readouterr().out
    assert "CC BY-SA 4.0" in said and "contact_sheet.png" in said and "🐈 cat" in said


def test_the_second_start_embeds_nothing(show: Callable[[Options], Any], tmp_path: Path) -> None:
    options = Options(out=tmp_path, data=tmp_path / "data", once=True)
    assert show(options).encoded == 12
    before = (tmp_path / "demo.json").read_text()
    assert show(options).encoded == 0
    assert (tmp_path / "demo.json").read_text() == before


def test_it_serves_until_it_is_interrupted(
    show: Callable[[Options], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def visit(server: Server, collection: str) -> None:
        asyncio.get_running_loop().call_soon(asyncio.create_task, leave(server.address, collection))

    async def leave(address: str, collection: str) -> None:
        found.append(await asyncio.to_thread(best, address, collection))
        os.kill(os.getpid(), signal.SIGINT)

    def best(address: str, collection: str) -> str:
        with Client(address) as client:
            return str(client.search("roketi", collection=collection, k=1)[0].metadata["emoji"])

    monkeypatch.setattr(demo, "_invite", visit)
    show(Options(out=tmp_path))
    assert found == ["🚀"]


def test_a_port_in_use_is_refused(show: Callable[[Options], Any], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PolylensError, match=f"cannot listen on 127.0.0.1:{port}"):
            show(Options(out=tmp_path, port=port, once=True))
    show(Options(out=tmp_path, port=port, once=True))  # control: now it is free


def test_fill_adds_what_is_missing_and_keeps_what_people_added(
    fake: Fake, gallery: list[Drawing], files: dict[str, Path], tmp_path: Path
) -> None:
    encoder = fake({})
    with Store(tmp_path) as store:
        collection = fill(store, COLLECTION, encoder, gallery[:8], files)
        collection.upsert(["my/cat.jpg"], encoder.encode_images([files["1f408"]]))
        encoder.encoded = 0
        assert fill(store, COLLECTION, encoder, gallery, files).count() == 13
        assert encoder.encoded == 4
        stored = collection.get([drawing.key for drawing in gallery])
    assert [record.metadata for record in stored if record] == [
        {"name": drawing.name, "emoji": drawing.emoji} for drawing in gallery
    ]


def test_a_collection_of_another_model_is_refused(
    fake: Fake, gallery: list[Drawing], files: dict[str, Path], tmp_path: Path
) -> None:
    with Store(tmp_path) as store:
        fill(store, COLLECTION, fake({}), gallery, files)
        other = fake({})
        other.fingerprint = "1" * 64
        with pytest.raises(PolylensError, match="was filled by model"):
            fill(store, COLLECTION, other, gallery, files)
        assert store.get(COLLECTION).count() == 12
