"""Every setting is a flag, a variable and a name in a file; a flag comes first, the file last."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from polylens.cli import app, main
from polylens.commands import serve as command
from polylens.errors import InvalidInput
from polylens.service.settings import Settings
from polylens.service.tokens import parse
from typer.testing import CliRunner


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that servers would run with."""
    found: list[Settings] = []
    monkeypatch.setattr(command, "run", lambda settings, *_: found.append(settings))
    monkeypatch.setattr(command, "begin", lambda style: None)
    return found


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["serve", *arguments], catch_exceptions=False)


def test_every_field_has_its_words() -> None:
    assert set(command.HELP) == {field.name for field in fields(Settings)}


def test_without_anything_the_defaults_hold(served: list[Settings]) -> None:
    assert call().exit_code == 0
    assert served == [Settings()]


def test_flag_before_variable_before_file_before_default(
    served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "polylens.yaml"
    file.write_text("port: 1\nmax_batch: 2\nmax_queue: 300\nwarm_up: false\ndata: /somewhere\nhttp_port:\n")
    monkeypatch.setenv("POLYLENS_PORT", "11")
    monkeypatch.setenv("POLYLENS_MAX_BATCH", "12")
    assert call("--config", str(file), "--port", "21", "--tokens", "t").exit_code == 0
    (got,) = served
    assert (got.port, got.max_batch, got.max_queue, got.warm_up) == (21, 12, 300, False)
    assert (got.data, got.tokens, got.http_port, got.max_wait_ms) == (
        "/somewhere",
        Path("t"),
        None,
        2.0,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot: 1", "unknown: prot"),
        ("- a", "no names and values"),
        ("a: [", "cannot be read"),
        (None, "cannot"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason(
    served: list[Settings], tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "polylens.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidInput, match=words):
        call("--config", str(file))
    assert served == []


def test_a_wrong_value_is_a_wrong_usage(served: list[Settings], tmp_path: Path) -> None:
    file = tmp_path / "polylens.yaml"
    file.write_text("port: many")
    assert call("--config", str(file)).exit_code == 2
    assert call("--port", "many").exit_code == 2
    assert served == []


def test_a_check_tells_of_every_part_and_starts_nothing(
    served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = call("--check", "--port", "0", "--data", str(tmp_path / "data"))
    assert good.exit_code == 0 and good.output.count(": ok\n") == 3
    (tmp_path / "file").write_text("not a folder")
    bad = call("--check", "--host", "0.0.0.0", "--data", str(tmp_path / "file"), "--model", "./none")
    assert bad.exit_code == 1 and ": ok\n" not in bad.output
    assert "nothing is encrypted" in bad.output and "names no model" in bad.output
    assert served == []


def test_a_new_token_fits_its_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["polylens", "token", "shop", "--scope", "write"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == 0
    (holder,) = parse(said.out).values()
    assert (holder.name, holder.scope) == ("shop", "write")
    assert said.err.split(": ")[1].strip().startswith("polylens_") and "polylens_" not in said.out
