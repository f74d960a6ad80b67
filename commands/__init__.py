"""The sub-commands of `polylens`, one module each; `cli.py` imports a module only when its command is called.

The convention, checked by tests/test_house_cli.py:

- The module `commands/<name>.py` serves `polylens <name>` and has one public name, `app`, made by
  `typer.Typer(add_completion=False)`.
- A plain command has exactly one `@app.command()`. A family (`polylens collection create`, `polylens evaluate
  openmoji`) gives `app` a callback as well, which keeps it a family even with one member:

        app = typer.Typer(add_completion=False, no_args_is_help=True)

        @app.callback()
        def collection() -> None:
            'Look after collections, on a running server or in a folder.'     (a docstring, in triple quotes)

- A large family may keep commands in modules `commands/<name>_<part>.py`, which `<name>.py` registers.
- The first line of the docstring of the command (or callback) equals its line in `SUMMARIES` below. The
  docstring of every command that runs something ends with a paragraph of examples, each on a line of its
  own that begins with `polylens <name>`. Typer reads docstrings as rich markup: write `\\[demo]` to show
  `[demo]`.
- A command parses, calls one function elsewhere and prints; it holds no logic. It raises `PolylensError`
  (or a class derived from it) for anything that went wrong: `cli.main` prints the one line on stderr and
  exits with 1. For a wrong argument it raises `typer.BadParameter`, which exits with 2. It never calls
  `sys.exit` for an error.
- Results go to stdout, progress and notes to stderr.
"""

__all__ = ["SUMMARIES"]

# One line for each command, so that `polylens --help` needs no import of any of them.
SUMMARIES = {
    "demo": "Search a gallery of emoji drawings in many languages, over gRPC.",
    "serve": "Serve a model and its collections over gRPC.",
    "token": "Make a token for callers of a server.",
    "search": "Search a collection of a running server.",
    "classify": "Say which of some labels, in any language, fits each picture.",
    "caption": "Write a sentence about each picture.",
    "embed": "Turn texts or pictures into vectors.",
    "collection": "Look after collections, on a running server or in a folder.",
    "evaluate": "Measure a model on a data set.",
    "train": "Train a model.",
    "segment": "Train and use a model that gives each pixel a class.",
    "probe": "Train and use linear probes on a frozen backbone.",
    "info": "Show what a model is: dimension, longest text, fingerprint.",
}
