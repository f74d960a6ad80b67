"""`polylens evaluate`: measures a model on a data set."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..clip.load import load
from ..demo.benchmark import Benchmark, measure
from ..demo.evaluation_report import draw_bars, table
from .evaluate_captions import captioning
from .evaluate_data import classification, retrieval
from .evaluate_table import table as table_of_results
from .evaluate_video import video_classification, video_retrieval

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True)

app.command()(classification)
app.command()(retrieval)
app.command()(video_classification)
app.command()(video_retrieval)
app.command()(captioning)
app.command("table")(table_of_results)


class Gallery(StrEnum):
    """Emoji without skin-tone variants, or with them."""

    base = "base"
    all = "all"


@app.callback()
def evaluate() -> None:
    """Measure a model on a data set."""


@app.command()
def openmoji(
    model: Annotated[str, typer.Option(help="mini, a folder, a hub id, hf:... or open_clip:...")] = "mini",
    languages: Annotated[
        str | None, typer.Option(help="Tags such as en,zh,sw; without it every demo language with names.")
    ] = None,
    cldr: Annotated[
        Path | None, typer.Option(help="Folder with the npm packages cldr-annotations(-derived)-full.")
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Also among the concepts that mini never trained on, alone.")
    ] = False,
    gallery: Annotated[Gallery, typer.Option(help="With or without skin-tone variants.")] = Gallery.base,
    report: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw a bar for each language into this PNG file.")
    ] = None,
) -> None:
    """Text-to-image recall on OpenMoji's drawings, asked by name in each language.

    The drawings are not in mini's training data. Languages beyond the 14 of
    the emoji package need --cldr. Needs polylens\\[demo], and polylens\\[train]
    for --plot.

    polylens evaluate openmoji

    polylens evaluate openmoji --cldr node_modules --held-out --plot recall.png
    """
    tags = languages.split(",") if languages else None
    encoder = load(model)
    found = measure(
        encoder, Benchmark(languages=tags, cldr=cldr, held_out=held_out, variants=gallery is Gallery.all)
    )
    Console().print(table(found))
    if report:
        content = {"model": encoder.name, "fingerprint": encoder.fingerprint, **found.to_dict()}
        report.write_text(json.dumps(content, indent=2) + "\n")
    if plot:
        draw_bars(found, plot, model=encoder.name)
