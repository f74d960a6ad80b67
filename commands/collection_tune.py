"""`polylens collection tune`: of the family in collection.py, but on a folder, without a server."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from ..errors import InvalidInput
from ..index import Collection
from ..index.tune import TARGET, Curve
from ..index.tune_plot import draw

__all__ = ["tune"]


def tune(
    folder: Annotated[Path, typer.Argument(help="Folder of the collection; no server may be using it.")],
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this PNG file.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Real queries, a .npy file (Q, D); rows of the collection by default.")
    ] = None,
    target: Annotated[float, typer.Option(help="Recall to reach, 0 to 1.")] = TARGET,
    k: Annotated[int, typer.Option(help="Number of hits that the table is for.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, but keep the old parameters.")] = False,
) -> None:
    """Show what the indexes of a collection find and take, and store the parameters that reach a recall.

    polylens collection tune collections/photos --plot recall.png
    """
    asked = None if queries is None else _vectors(queries)
    with Collection.open(folder, background=False) as collection:
        curves = collection.tune(asked, k=k, target=target, store=not dry_run, normalize=True)
    console = Console()
    if not curves:
        console.print("no segment has an index: every search is exact, there is nothing to tune")
        return
    for curve in curves:
        console.print(_table(curve))
    if plot is not None:
        draw(curves, plot)
        Console(stderr=True).print(f"drew {plot}")


def _vectors(path: Path) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not a readable .npy file: {error}") from None
    if not isinstance(found, np.ndarray):
        raise InvalidInput(f"{path} holds several arrays, expected one of shape (Q, D)")
    return found.astype(np.float32, copy=False)


def _table(curve: Curve) -> Table:
    table = Table(
        curve.knob or "setting",
        "recall",
        "ms per query",
        "",
        title=f"segment {curve.segment_id}: {curve.factory}, {curve.rows:,} rows",
        box=None,
    )
    for trial in curve.trials:
        mark = "chosen" if trial.setting == curve.chosen else ""
        table.add_row(str(trial.setting), f"{trial.recall:.4f}", f"{trial.ms:.3f}", mark)
    table.add_row("exact scan", "1.0000", f"{curve.scan_ms:.3f}", "")
    return table
