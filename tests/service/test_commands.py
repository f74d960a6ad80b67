"""`polylens search` and `polylens collection` against a running server; the flags of `polylens serve`."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from polylens.cli import app, load_command
from polylens.errors import InvalidInput, PolylensError
from polylens.service.client import Client
from polylens.service.settings import Settings
from typer.testing import CliRunner


def polylens(*arguments: str, input: str | None = None, **environment: str) -> Result:
    return CliRunner().invoke(app, arguments, input=input, env={"COLUMNS": "160"} | environment)


def done(*arguments: str, input: str | None = None, **environment: str) -> str:
    """What the command printed, after it succeeded."""
    result = polylens(*arguments, input=input, **environment)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def photos(running: Any, picture: Callable[..., bytes], tmp_path: Path) -> Path:
    """A folder of three pictures and a file that is none, and POLYLENS_SERVER set."""
    folder = tmp_path / "photos"
    (folder / "2024").mkdir(parents=True)
    for i, name in enumerate(["red.png", "2024/green.PNG", "2024/blue.webp"]):
        (folder / name).write_bytes(picture((60 * i, 100, 200)))
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_from_an_empty_server_to_a_hit(running: Any, photos: Path) -> None:
    server = {"POLYLENS_SERVER": running.address}
    assert "photos" in done("collection", "create", "photos", **server)
    assert done("collection", "upsert", "photos", str(photos), **server) == "stored 3\n"
    assert "3" in done("collection", "info", "photos", **server)
    assert "photos" in done("collection", "list", "--server", running.address)
    shown = done("search", "--image", str(photos / "red.png"), "-k", "2", **server)
    assert "1.000" in shown and "red.png" in shown and f"path: {photos}" in shown.replace("\n", "")
    found = json.loads(done("search", "a red apple", "--collection", "photos", "--json", **server))
    assert found["collection"] == "photos" and len(found["hits"]) == 3
    assert found["hits"][0].keys() == {"id", "score", "metadata", "match"}
    like = json.loads(done("search", "--id", "2024/green.PNG", "--json", **server))
    assert sorted(hit["id"] for hit in like["hits"]) == ["2024/blue.webp", "red.png"]
    condition = json.dumps({"path": str(photos / "red.png")})
    only = json.loads(done("search", "apple", "--filter", condition, "--json", **server))
    assert [hit["id"] for hit in only["hits"]] == ["red.png"]
    assert done("collection", "delete", "photos", "red.png", "absent", **server) == "deleted 1\n"
    assert polylens("collection", "drop", "photos", input="n\n", **server).exit_code == 1
    assert done("collection", "drop", "photos", input="y\n", **server).endswith("dropped photos\n")
    assert "photos" not in done("collection", "list", **server)


def test_a_text_that_is_cut_off_is_said_so_on_stderr(running: Any) -> None:
    with Client(running.address) as client:
        client.create_collection("c")
    result = polylens("search", "word " * 20, "--server", running.address, "--json")
    assert "only its beginning" in result.stderr and json.loads(result.stdout)["truncated"]


def test_pictures_that_cannot_be_stored_are_named_and_the_others_stored(running: Any, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    done("collection", "create", "photos", POLYLENS_SERVER=running.address)
    result = polylens("collection", "upsert", "photos", str(photos), "--server", running.address)
    assert isinstance(result.exception, PolylensError) and "1 of 4 pictures" in str(result.exception)
    assert "broken.jpg: the image" in result.stderr.replace("\n", "")
    with Client(running.address) as client:
        assert client.count(collection="photos") == 3


@pytest.mark.parametrize("names", [["absent"], ["empty"], ["a/x.png", "b/x.png"]])
def test_what_gives_no_clear_set_of_pictures_is_refused(names: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").touch()
    result = polylens("collection", "upsert", "c", *(str(tmp_path / name) for name in names))
    assert isinstance(result.exception, InvalidInput)


def test_words_beside_a_picture_are_a_mixture(running: Any, photos: Path) -> None:
    server = {"POLYLENS_SERVER": running.address}
    done("collection", "create", "photos", **server)
    done("collection", "upsert", "photos", str(photos), **server)
    red = str(photos / "red.png")
    given = ("search", "at night", "--image", red, "--weight", "-0.5", "--json")
    found = json.loads(done(*given, **server))
    with Client(running.address) as client:
        want = client.search(mixture=[("at night", -0.5), (Path(red), 1.0)])
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in want]


def test_classify_and_embed(running: Any, photos: Path, tmp_path: Path) -> None:
    server = {"POLYLENS_SERVER": running.address}
    labels = ("-l", "cat", "-l", "两只猫", "-l", "paka")
    told = json.loads(done("classify", str(photos), *labels, "-t", "a {}", "--top", "2", "--json", **server))
    with Client(running.address) as client:
        (want,) = client.classify([photos / "red.png"], ["cat", "两只猫", "paka"], templates=["a {}"], top=2)
        vectors = client.embed_images([photos / "red.png"])
        texts = client.embed_texts(["a", "b"])
    assert [one["label"] for one in told["red.png"]] == [one.label for one in want]
    assert want[0].label in done("classify", str(photos / "red.png"), *labels, "-t", "a {}", **server)
    out = tmp_path / "out.npz"
    done("embed", str(out), "--image", str(photos / "red.png"), **server)
    with np.load(out, allow_pickle=False) as found:
        assert found["ids"].tolist() == ["red.png"] and np.array_equal(found["vectors"], vectors)
    (tmp_path / "lines").write_text("b\n")
    done("embed", str(out), "--text", "a", "--lines", str(tmp_path / "lines"), **server)
    with np.load(out, allow_pickle=False) as found:
        assert found["ids"].tolist() == ["a", "b"] and np.array_equal(found["vectors"], texts)
    assert polylens("embed", str(out), "--text", "a", "--image", str(photos), **server).exit_code == 2


def test_one_thing_to_search_for() -> None:
    assert polylens("search").exit_code == 2
    assert polylens("search", "--image", "x.png", "--id", "x").exit_code == 2


def test_no_server_is_one_clear_error() -> None:
    result = polylens("search", "text", "--server", "localhost:1")
    assert isinstance(result.exception, PolylensError)
    assert "localhost:1" in str(result.exception) and "UNAVAILABLE" in str(result.exception)


def test_every_setting_is_a_flag_and_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {option.name: option for option in load_command("serve").params}
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    assert options.keys() == fields.keys() | {"config", "check"}
    for name in fields:
        option = options[name]
        assert option.envvar == f"POLYLENS_{name.upper()}"
        assert option.opts == [f"--{name.replace('_', '-')}"]
    given: list[Settings] = []
    monkeypatch.setattr("polylens.commands.serve.run", lambda settings, *_: given.append(settings))
    done(
        "serve",
        "--port",
        "7",
        POLYLENS_PORT="8",
        POLYLENS_MODEL="/m",
        POLYLENS_MAX_WAIT_MS="0.5",
        POLYLENS_INSECURE="1",
    )
    (settings,) = given
    assert settings == Settings(port=7, model="/m", max_wait_ms=0.5, insecure=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 70_000},
        {"max_batch": 0},
        {"workers": 0},
        {"max_queue": 10},
        {"grace_seconds": -1.0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        Settings(**wrong)
