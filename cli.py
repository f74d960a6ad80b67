"""The command `polylens`: assembles commands/, whose modules are imported only when they are called."""

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from . import __version__
from .commands import SUMMARIES
from .errors import PolylensError


class LazyGroup(TyperGroup):
    """Placeholders (a name, a line of help), each replaced by the real command when it is called."""

    # Any: typer keeps the context and command types to itself, and where they live depends on its version.
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else load_command(name), rest


def load_command(name: str) -> Any:
    """The click command (or group) of `polylens <name>`; imports commands/<name>.py and all that it needs."""
    module = importlib.import_module(f".commands.{name}", __package__)
    return get_command(module.app)


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"polylens {__version__}")
        raise typer.Exit


@app.callback()
def polylens(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it and exit.")
    ] = False,
) -> None:
    """Search images by text in any language.

    Start with: polylens demo
    """


for _name, _summary in SUMMARIES.items():
    app.command(_name, help=_summary)(lambda: None)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 refused or failed (one line on stderr), 2 wrong usage."""
    try:
        app(prog_name="polylens")
    except PolylensError as error:
        print(f"polylens: {error}", file=sys.stderr)
        raise SystemExit(1) from None
