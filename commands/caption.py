"""`polylens caption`: a sentence about each picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..clip.captioning import Wording, caption_images
from ..clip.load import load
from ..clip.reader import PROMPT
from ..errors import InvalidInput
from ..service.client import connect
from ..service.pictures import find_pictures

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def caption(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, and folders to look for pictures in.")],
    model: Annotated[
        str, typer.Option(help="An InternVL-G: a folder or a hub id.")
    ] = "OpenGVLab/InternVL-14B-224px",
    prompt: Annotated[
        str, typer.Option(help="What the sentences go on from; empty for English captions.")
    ] = "",
    beams: Annotated[int, typer.Option(min=1, help="Sentences weighed against each other.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    server: Annotated[
        str | None, typer.Option(help="Ask this server's model instead.", envvar="POLYLENS_SERVER")
    ] = None,
) -> None:
    """Write a sentence about each picture.

    Only InternVL-G writes; a server must have been started with --head G.

    polylens caption cat.jpg --model /models/InternVL-14B-224px

    polylens caption ~/Pictures --beams 1 --json --server localhost:51000
    """
    pictures = find_pictures(paths)
    unread: dict[str, InvalidInput] = {}
    sentences: dict[str, str] = {}
    if server:
        with connect(server) as client:
            said = client.caption(list(pictures.values()), prompt=prompt, beams=beams)
        sentences = dict(zip(pictures, said, strict=True))
    else:
        wording = Wording(prompt=prompt or PROMPT, beams=beams)
        told = caption_images(load(model, head="G"), pictures.values(), wording)
        for id, sentence in zip(pictures, told, strict=True):
            if isinstance(sentence, InvalidInput):
                unread[id] = sentence
            else:
                sentences[id] = sentence
    _show(sentences, as_json=as_json)
    if unread:
        raise InvalidInput("; ".join(f"{id}: {reason}" for id, reason in unread.items()))


def _show(sentences: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(sentences, ensure_ascii=False, indent=1))
        return
    table = Table("picture", "caption", box=None)
    for id, sentence in sentences.items():
        table.add_row(Text(id), Text(sentence))
    Console().print(table)
