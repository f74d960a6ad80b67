"""`polylens collection`: looks after collections, on a running server or in a folder."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ..errors import PolylensError
from ..service.client import TARGET, connect
from ..service.errors import BatchError
from ..service.pictures import find_pictures
from ..service.records import CollectionInfo
from ..service.videos import find_videos, upsert_videos
from .collection_bulk import COMMANDS as BULK
from .collection_folder import COMMANDS, inspect, is_folder
from .collection_tune import tune

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True)
MOST_FAULTS = 20

for _command in (tune, *COMMANDS):
    app.command()(_command)
for _name, _bulk in BULK.items():
    app.command(_name)(_bulk)

Server = Annotated[str, typer.Option(help="Where the server answers.", envvar="POLYLENS_SERVER")]
Name = Annotated[str, typer.Argument(help="Name of the collection.")]


@app.callback()
def collection() -> None:
    """Look after collections, on a running server or in a folder."""


@app.command()
def create(
    name: Name,
    exist_ok: Annotated[bool, typer.Option("--exist-ok", help="Accept one that exists already.")] = False,
    server: Server = TARGET,
) -> None:
    """Make an empty collection for vectors of the server's model.

    polylens collection create photos
    """
    with connect(server) as client:
        _show([client.create_collection(name, exist_ok=exist_ok)])


@app.command("list")
def list_(server: Server = TARGET) -> None:
    """List all collections.

    polylens collection list
    """
    with connect(server) as client:
        _show(client.collections())


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="Its name on the server, or its folder, offline.")],
    server: Server = TARGET,
) -> None:
    """Show one collection: of the server by its name, or the one in a folder.

    polylens collection info photos

    polylens collection info ./collections/photos
    """
    if is_folder(name):
        inspect(Path(name))
        return
    with connect(server) as client:
        _show([client.collection(name)])


@app.command()
def upsert(
    name: Name,
    paths: Annotated[list[Path], typer.Argument(help="Pictures, and folders to look for pictures in.")],
    frames: Annotated[
        int, typer.Option(min=0, help="Store videos instead, each by so many evenly spaced frames.")
    ] = 0,
    server: Server = TARGET,
) -> None:
    """Store pictures or videos; one stored before under the same id is replaced.

    The id is the path below the folder given, or the name of the file given.
    The metadata has the full path as `path`. Pictures that cannot be read are
    reported and the others stored. Videos need polylens\\[video] and --frames;
    their vector is the mean of their frames'.

    polylens collection upsert photos ~/Pictures

    polylens collection upsert photos cat.jpg dog.png

    polylens collection upsert films ~/Films --frames 8
    """
    if frames:
        _upsert_videos(name, paths, frames, server)
        return
    pictures = find_pictures(paths)
    ids, files = list(pictures), list(pictures.values())
    with connect(server) as client, Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(name, total=len(ids))
        try:
            stored = client.upsert(
                ids,
                collection=name,
                images=files,
                metadata=[{"path": str(file.resolve())} for file in files],
                progress=lambda count: progress.advance(bar, count),
            )
        except BatchError as error:
            for fault in error.faults[:MOST_FAULTS]:
                progress.console.print(Text(f"{files[fault.index]}: {fault.message}"))
            failed = len(error.faults)
            raise PolylensError(f"{failed} of {len(ids)} pictures were not stored; the others were") from None
    typer.echo(f"stored {stored}")


@app.command()
def delete(
    name: Name,
    ids: Annotated[list[str], typer.Argument(help="Ids of points; unknown ones are no error.")],
    server: Server = TARGET,
) -> None:
    """Delete points.

    polylens collection delete photos 2024/cat.jpg 2024/dog.png
    """
    with connect(server) as client:
        typer.echo(f"deleted {client.delete(ids, collection=name)}")


@app.command()
def drop(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = TARGET,
) -> None:
    """Delete a collection and every point in it.

    polylens collection drop photos
    """
    with connect(server) as client:
        count = client.collection(name).count
        if not yes:
            typer.confirm(f"Delete {name} with {count:,} points?", abort=True)
        client.drop_collection(name)
    typer.echo(f"dropped {name}")


def _upsert_videos(name: str, paths: list[Path], frames: int, server: str) -> None:
    videos = find_videos(paths)
    with connect(server) as client, Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(name, total=len(videos))
        advance = partial(progress.advance, bar)
        errors = upsert_videos(client, videos, collection=name, frames=frames, progress=advance)
        for id, error in list(errors.items())[:MOST_FAULTS]:
            progress.console.print(Text(f"{videos[id]}: {error}"))
    if errors:
        raise PolylensError(f"{len(errors)} of {len(videos)} videos were not stored; the others were")
    typer.echo(f"stored {len(videos)}")


def _show(collections: list[CollectionInfo]) -> None:
    table = Table("name", "points", "dim", "model", "problem", box=None)
    for one in collections:
        table.add_row(one.name, f"{one.count:,}", str(one.dim), one.fingerprint[:16], Text(one.problem))
    Console().print(table)
