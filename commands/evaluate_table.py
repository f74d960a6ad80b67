"""`polylens evaluate table`: one table of many results, ours or clip_benchmark's."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..clip.evaluation.plots import draw_bars, draw_robustness
from ..clip.evaluation.published import published
from ..clip.evaluation.results import comma_separated, long_table, markdown, read_results, wide_table
from ..errors import InvalidInput


def table(
    results: Annotated[list[Path], typer.Argument(help="JSON files, and folders of them.")],
    metric: Annotated[
        str | None, typer.Option(help="A row for each model, of this metric alone, such as acc1.")
    ] = None,
    with_published: Annotated[
        bool, typer.Option("--published", help="Add the published rows of the same tasks and data sets.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the table, as .md or .csv.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Bars of --metric as PNG.")] = None,
    robustness: Annotated[
        Path | None, typer.Option(help="ImageNet against its shifted sets, as PNG.")
    ] = None,
) -> None:
    """One table of many results.

    Reads the JSON files of polylens evaluate and of clip_benchmark.

    polylens evaluate table results --out results.md

    polylens evaluate table results --metric acc1 --out acc1.csv --plot acc1.png --published
    """
    if out and out.suffix not in (".md", ".csv"):
        raise typer.BadParameter(f"--out: expected a name that ends with .md or .csv, got {out.name}")
    if plot and not metric:
        raise typer.BadParameter("--plot needs --metric")
    found = read_results(results)
    if with_published:
        measured = {(content["task"], content["dataset"], content["language"]) for content in found}
        rows = [row for row in published() if (row.task, row.dataset, row.language) in measured]
        found += [vars(row) | {"model": f"published: {row.system}"} for row in rows]
    heading, lines = wide_table(found, metric) if metric else long_table(found)
    if out:
        write = markdown if out.suffix == ".md" else comma_separated
        try:
            out.write_text(write(heading, lines), "utf-8")
        except OSError as error:
            raise InvalidInput(f"{out} cannot be written: {error.strerror}") from error
    if plot:
        draw_bars(heading, lines, plot, metric=str(metric))
    if robustness:
        draw_robustness(found, robustness)
    shown = Table(*heading, box=None)
    for line in lines:
        shown.add_row(*line)
    Console().print(shown)
