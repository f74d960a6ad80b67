"""`polylens caption`: a sentence about each picture."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..service.client import TARGET, connect
from ..service.pictures import find_pictures

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def caption(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, and folders to look for pictures in.")],
    prompt: Annotated[
        str, typer.Option(help="What the sentences go on from; empty for English captions.")
    ] = "",
    beams: Annotated[int, typer.Option(help="Sentences weighed against each other; 1 is fastest.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    server: Annotated[str, typer.Option(help="Where the server answers.", envvar="POLYLENS_SERVER")] = TARGET,
) -> None:
    """Write a sentence about each picture.

    The server must run InternVL-G: polylens serve --model OpenGVLab/InternVL-14B-224px --head G

    polylens caption cat.jpg

    polylens caption ~/Pictures --beams 1 --json
    """
    pictures = find_pictures(paths)
    with connect(server) as client:
        sentences = client.caption(list(pictures.values()), prompt=prompt, beams=beams)
    if as_json:
        typer.echo(json.dumps(dict(zip(pictures, sentences, strict=True)), ensure_ascii=False, indent=1))
        return
    table = Table("picture", "caption", box=None)
    for id, sentence in zip(pictures, sentences, strict=True):
        table.add_row(Text(id), Text(sentence))
    Console().print(table)
