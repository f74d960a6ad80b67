"""`polylens collection import | export | build`: whole folders of vectors in and out, on files, no server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import InvalidInput
from ..index import Collection
from ..index.exporting import export as export_rows
from ..index.importing import import_source
from ..index.parted import build as build_parts
from ..index.parted import factory_for, work
from ..index.policy import AUTO
from ..index.source import find

__all__ = ["COMMANDS"]

Folder = Annotated[
    Path,
    typer.Argument(help="The collection's folder, DATA/NAME. No server may have it open: stop it first."),
]


def import_(
    out: Annotated[
        Path,
        typer.Argument(
            help="Folder that `polylens embed` or clip-retrieval wrote, or of .npy or .parquet files."
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(help="The collection's folder, DATA/NAME; made if it is not there.")
    ],
    vectors: Annotated[
        str | None, typer.Option(help="img_emb or text_emb, or the column of the vectors.")
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="Of the model; by default from manifest.json.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column of the ids; by default id, key, image_path or url.")
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale vectors to length 1.")] = False,
    metric: Annotated[str, typer.Option(help="cosine or inner_product, for a new collection.")] = "cosine",
    index: Annotated[str, typer.Option(help="FAISS factory string or auto, for a new collection.")] = AUTO,
    no_index: Annotated[
        bool, typer.Option("--no-index", help="Leave indexes to the server or to build.")
    ] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not compare files with manifest.json.")
    ] = False,
) -> None:
    """Take a folder of vectors into a collection, each vector written once.

    What becomes of a piece is safe on the disk before the next begins: an import
    that was broken off goes on where it was when it is called again. Rows whose
    id is there already are replaced. In the end indexes are built, of the kind
    that fits size and memory.

    polylens collection import out ./collections/photos

    polylens collection import out ./collections/captions --vectors text_emb
    """
    source = find(out, vectors)
    model = fingerprint or source.manifest.get("fingerprint")
    if not isinstance(model, str):
        raise InvalidInput(
            f"{out} has no manifest.json with a fingerprint: name the model with --fingerprint"
        )
    with (
        Collection.create(
            folder,
            dim=source.dim,
            fingerprint=model,
            metric=metric,
            dtype=source.dtype,
            index=index,
            exist_ok=True,
        ) as collection,
        _bar() as bar,
    ):
        rows, step = bar.add_task("rows", total=source.rows), bar.add_task("", total=None)
        done = import_source(
            collection, source, id_column=id_column, normalize=normalize, check=not no_check,
            progress=lambda _name, count, _of: bar.update(rows, completed=count),
            steps=lambda what, count, of: bar.update(step, description=what, completed=count, total=of),
        )  # fmt: skip
        if not no_index:
            collection.settle(
                lambda what, count, of: bar.update(step, description=what, completed=count, total=of)
            )
        count = collection.count()
    earlier = f", {done.earlier:,} were there before" if done.earlier else ""
    typer.echo(f"stored {done.stored:,} of {done.rows:,} rows{earlier}; {folder} has {count:,} items")


def export(
    folder: Folder,
    out: Annotated[
        Path, typer.Argument(help="The folder to write; empty, or of an export that was broken off.")
    ],
) -> None:
    """Write a collection into parquet files: id, metadata as JSON text, vector.

    `polylens collection import` reads them.

    polylens collection export ./collections/photos exported
    """
    with Collection.open(folder, background=False) as collection, _bar() as bar:
        rows = bar.add_task("rows", total=collection.count())
        count = export_rows(collection, out, lambda done, of: bar.update(rows, completed=done, total=of))
    typer.echo(f"wrote {count:,} rows to {out}")


def build(
    folder: Folder,
    index: Annotated[str, typer.Option(help="FAISS factory string; auto takes what fits the size.")] = AUTO,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="Train once, fill segments in parts.")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, max=256, help="Processes beside this one.")] = 1,
    join: Annotated[bool, typer.Option("--join", help="Help a build that another process leads.")] = False,
) -> None:
    """Build the indexes of a collection now, alone or with other processes and machines.

    With --distributed one index is trained on a sample of all rows, and workers
    fill a copy for each segment, one at a time, so that memory holds the sample
    or the codes of one segment. Machines that see the folder help with --join.
    auto then means product codes (IVF-PQ). A build that was broken off goes on.

    polylens collection build ./collections/photos --index IVF4096,SQ8

    polylens collection build ./collections/photos --distributed --workers 3

    polylens collection build ./collections/photos --join
    """
    with _bar() as bar:
        task = bar.add_task("", total=None)

        def progress(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of)

        if join:
            typer.echo(f"filled {work(folder, progress)} segments")
            return
        with Collection.open(folder, background=False) as collection:
            if distributed:
                factory = factory_for(collection, index)
                collection.configure(factory)
                count = build_parts(collection, factory, workers, progress)
                typer.echo(f"built {factory} for {count} segments")
                return
            if index != AUTO:
                collection.configure(index)
            collection.seal(progress)
            collection.settle(progress)
    typer.echo("built what was due")


@contextmanager
def _bar() -> Iterator[Progress]:
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar


COMMANDS: dict[str, Callable[..., None]] = {"import": import_, "export": export, "build": build}
