"""`polylens demo`: the shortest way to see a search in many languages."""

from pathlib import Path
from typing import Annotated

import typer

from ..demo.run import Options, run

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Write the results and exit.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for demo.json and contact_sheet.png.")] = Path(
        "polylens-demo"
    ),
    port: Annotated[int, typer.Option(help="Port on loopback; 0 is any free one.")] = 0,
    model: Annotated[str, typer.Option(help="mini, a folder, a hub id or open_clip:...")] = "mini",
    data: Annotated[
        Path | None, typer.Option(help="Folder for the collection, instead of one in OUT.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Include the skin-tone variants.")] = False,
    fonts: Annotated[Path | None, typer.Option(help="Folder of further fonts for the contact sheet.")] = None,
) -> None:
    """Search a gallery of emoji drawings in many languages, over gRPC.

    Draws the gallery, fills a collection, serves it, asks the same things in
    24 languages and goes on serving. The second start finds the work of the
    first. Needs polylens\\[demo].

    polylens demo

    polylens demo --once --out results
    """
    run(Options(out=out, data=data, model=model, port=port, once=once, variants=every, fonts=fonts))
