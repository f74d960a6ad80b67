"""`polylens classify`: which of some labels fits each picture."""

import json
from dataclasses import asdict
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
def classify(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, and folders to look for pictures in.")],
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="What they may show; several times.")
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option("--template", "-t", help="A sentence with {} for the label.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many labels to tell of each picture; 0 is all.")] = 3,
    probe: Annotated[
        str, typer.Option(help="Instead of labels: a trained probe that the server has, by its name.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    server: Annotated[str, typer.Option(help="Where the server answers.", envvar="POLYLENS_SERVER")] = TARGET,
) -> None:
    """Say which of some labels, in any language, fits each picture.

    polylens classify cat.jpg -l cat -l dog -l "a red apple"

    polylens classify ~/Pictures -l 猫 -l 狗 -t "一张{}的照片" --top 1

    polylens classify ~/Pictures --probe animals
    """
    if bool(label) == bool(probe):
        raise typer.BadParameter("give labels (-l) or a probe (--probe)")
    pictures = find_pictures(paths)
    with connect(server) as client:
        files = list(pictures.values())
        found = client.classify(files, label or [], templates=template or [], top=top, probe=probe)
    if as_json:
        told = {id: [asdict(one) for one in scores] for id, scores in zip(pictures, found, strict=True)}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
        return
    table = Table("picture", "labels", box=None)
    for id, scores in zip(pictures, found, strict=True):
        table.add_row(Text(id), Text(", ".join(f"{one.label} {one.probability:.0%}" for one in scores)))
    Console().print(table)
