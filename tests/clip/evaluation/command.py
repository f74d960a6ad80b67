"""The command in this process."""

import json
from pathlib import Path
from typing import Any

from polylens.cli import app
from typer.testing import CliRunner


def run(*arguments: object, **environment: str) -> str:
    """What the command printed."""
    call = [str(argument) for argument in arguments]
    done = CliRunner().invoke(app, call, env={"COLUMNS": "300", **environment})
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.stdout


def result_of(out: Path, *arguments: object, **environment: str) -> dict[str, Any]:
    """The one result that `polylens evaluate ... --out` left in a new folder."""
    printed = run("evaluate", *arguments, "--out", out, **environment)
    (file,) = out.iterdir()
    content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    assert all(f"{value:.4f}" in printed for value in content["metrics"].values() if value is not None)
    return content
