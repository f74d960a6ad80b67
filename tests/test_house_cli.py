"""`polylens`: quick to help, honest when it fails, every command described in the same words everywhere."""

import importlib
import re
import resource
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import typer
from polylens import __version__
from polylens.cli import app, load_command, main
from polylens.commands import SUMMARIES
from polylens.errors import InvalidInput
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
HEAVY = ("torch", "numpy", "faiss", "grpc", "PIL", "apsw", "sentencepiece")


def runnable(name: str) -> dict[str, Any]:
    """Full name -> click command, of `polylens <name>` or of the members of that family."""
    command = load_command(name)
    members = getattr(command, "commands", None)
    return {f"{name} {member}": members[member] for member in members} if members else {name: command}


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in SUMMARIES)


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    program = (
        "import sys\nfrom polylens.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "heavy: []" in done.stdout, done.stdout + done.stderr
    # The processor's time, whatever else the machine does: 0.3 s were measured, importing torch takes 2 to 3.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_control_a_heavy_import_would_be_noticed() -> None:
    program = f"import sys, numpy; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert "numpy" in subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout


def test_python_dash_m_runs_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "polylens", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"polylens {__version__}\n")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The command `info`, replaced by one that fails as its argument says."""
    stand_in = types.ModuleType("polylens.commands.info")
    stand_in.app = typer.Typer(add_completion=False)  # type: ignore[attr-defined]

    @stand_in.app.command()
    def info(how: str) -> None:
        if how == "refuse":
            raise InvalidInput("expected 3 numbers, got 2")
        if how == "usage":
            raise typer.BadParameter("no such thing")
        raise RuntimeError("a fault of ours")

    monkeypatch.setitem(sys.modules, "polylens.commands.info", stand_in)
    return stand_in


@pytest.mark.usefixtures("failing")
def test_a_command_is_imported_only_when_called(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr("polylens.cli.load_command", lambda name: called.append(name) or load_command(name))
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    assert called == []
    assert CliRunner().invoke(app, ["info", "--help"]).exit_code == 0
    assert called == ["info"]


def exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["polylens", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


@pytest.mark.usefixtures("failing")
def test_an_error_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(monkeypatch, "info", "refuse") == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "polylens: expected 3 numbers, got 2\n")


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("arguments", [["info", "usage"], ["info"], ["nonsense"], ["--nonsense"]])
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert "Usage" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.usefixtures("failing")
def test_control_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["polylens", "info", "crash"])
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main()


def test_summaries_cover_the_folder() -> None:
    modules = {file.stem for file in (ROOT / "commands").glob("[!_]*.py")}
    parts = {name for name in modules if name.partition("_")[0] in SUMMARIES.keys() - {name}}
    assert modules - parts == SUMMARIES.keys()


@pytest.mark.parametrize("name", SUMMARIES)
def test_command_follows_the_convention(name: str) -> None:
    module = importlib.import_module(f"polylens.commands.{name}")
    assert isinstance(module.app, typer.Typer)
    command = load_command(name)
    assert (command.help or "").splitlines()[0] == SUMMARIES[name]
    assert not any("completion" in option for parameter in command.params for option in parameter.opts)
    for full_name, member in runnable(name).items():
        lines = [line.strip() for line in (member.help or "").splitlines()]
        assert any(line.startswith(f"polylens {full_name}") for line in lines), f"{full_name}: no example"


@pytest.mark.parametrize("name", SUMMARIES)
def test_command_is_documented(name: str) -> None:
    pages = " ".join(page.read_text() for page in PAGES)
    for full_name in runnable(name):
        assert re.search(rf"polylens {full_name}\b", pages), f"polylens {full_name} is on no page"
