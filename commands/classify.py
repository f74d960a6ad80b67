"""`polylens classify`: which of some labels fits each picture."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..clip.evaluation.labelling import label_pictures
from ..clip.evaluation.ranking import LabelScore
from ..clip.load import load
from ..demo.label_grid import label_grid
from ..errors import InvalidInput
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
    labels: Annotated[Path | None, typer.Option(help="A file with a label on each line.")] = None,
    template: Annotated[
        list[str] | None, typer.Option("--template", "-t", help="A sentence with {} for the label.")
    ] = None,
    probe: Annotated[
        str, typer.Option(help="Instead of labels: a trained probe that the server has, by its name.")
    ] = "",
    top: Annotated[int, typer.Option(min=0, help="How many labels to tell of each picture; 0 is all.")] = 3,
    model: Annotated[str, typer.Option(help="mini, a folder, a hub id, hf:... or open_clip:...")] = "mini",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    table: Annotated[Path | None, typer.Option("--csv", help="Write a row for each label of each.")] = None,
    grid: Annotated[Path | None, typer.Option(help="Draw the pictures with their labels, as PNG.")] = None,
    server: Annotated[
        str | None, typer.Option(help="Ask this server's model instead.", envvar="POLYLENS_SERVER")
    ] = None,
) -> None:
    """Say which of some labels, in any language, fits each picture.

    polylens classify cat.jpg -l cat -l dog -l "a red apple"

    polylens classify ~/Pictures -l 猫 -l 狗 -t "一张{}的照片" --csv labels.csv --grid labels.png

    polylens classify ~/Pictures --labels names.txt --server localhost:51000

    polylens classify ~/Pictures --probe animals --server localhost:51000
    """
    wanted = [*(label or []), *(_lines(labels) if labels else [])]
    if bool(wanted) == bool(probe):
        raise typer.BadParameter("give labels (-l cat -l dog, or --labels FILE) or a probe (--probe)")
    pictures = find_pictures(paths)
    unread: Mapping[str, str] = {}
    if server or probe:  # probes are what a server has
        with connect(server or TARGET) as client:
            files = list(pictures.values())
            told = client.classify(files, wanted, templates=template or [], top=top, probe=probe)
        found: Mapping[str, Sequence[LabelScore]] = dict(zip(pictures, told, strict=True))
    else:
        sentences = template or []
        found, unread = label_pictures(
            load(model), pictures, wanted, templates=sentences, top=top, progress=True
        )
    _show(found, as_json=as_json)
    if table:
        _write(table, found)
    if grid:
        grid.write_bytes(label_grid(pictures, found))
    if unread:
        raise InvalidInput("; ".join(f"{id}: {reason}" for id, reason in unread.items()))


def _show(found: Mapping[str, Sequence[LabelScore]], *, as_json: bool) -> None:
    if as_json:
        told = {id: [asdict(one) for one in scores] for id, scores in found.items()}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
        return
    shown = Table("picture", "labels", box=None)
    for id, scores in found.items():
        shown.add_row(Text(id), Text(", ".join(f"{one.label} {one.probability:.0%}" for one in scores)))
    Console().print(shown)


def _write(path: Path, found: Mapping[str, Sequence[LabelScore]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", "rank", "label", "probability", "score"])
        for id, scores in found.items():
            for rank, one in enumerate(scores, 1):
                writer.writerow([id, rank, one.label, f"{one.probability:.6f}", f"{one.score:.6f}"])


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}") from error
