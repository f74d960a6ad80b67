"""`polylens collection verify | inspect | compact | snapshot | restore`: on files, without a server."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import PolylensError
from ..index import Collection, Report
from ..index import restore as restore_snapshot
from ..index import verify as verify_folder
from ..index.database import DATABASE
from ..index.shrink import shrink

__all__ = ["COMMANDS", "is_folder"]

Folder = Annotated[
    Path,
    typer.Argument(help="The collection's folder, DATA/NAME. No server may have it open: stop it first."),
]


def is_folder(name: str) -> bool:
    """Whether this is meant as the folder of a collection, not as a name that a server knows."""
    return "/" in name or (Path(name) / DATABASE).is_file()


def verify(folder: Folder) -> None:
    """Check every byte of a collection, and change nothing.

    The database's structure, each vector against its checksum, the metadata, the
    counts; each segment's files against their checksums and against the
    database. Damage to a segment costs nothing: it is made anew from the
    database when the collection is opened. The exit code is 0 if all is well.

    polylens collection verify ./collections/photos
    """
    report = verify_folder(folder)
    _show(report)
    for finding in report.findings:
        Console().print(Text(f"{finding.kind}: {finding.what}"))
    if report.more:
        typer.echo(f"and {report.more} more")
    if not report.lossless:
        raise PolylensError(f"{folder} is damaged: restore a snapshot")
    if not report.sound:
        raise PolylensError(f"{folder} has all its items, but segments must be made anew: open it once")
    typer.echo("all is well")


def inspect(folder: Folder) -> None:
    """Show what a collection in a folder consists of.

    polylens collection inspect ./collections/photos
    """
    with Collection.open(folder, background=False) as collection:
        state, fingerprint = collection.info(), collection.fingerprint
    for name, value in {
        "items": f"{state.count:,}",
        "deleted, not yet dropped": f"{state.dead:,}",
        "in no segment": f"{state.tail:,}",
        "vectors": f"{state.dim} x {state.dtype}, {state.metric}",
        "model": fingerprint,
        "index": state.index,
        "on the disk": f"{state.disk_bytes / 1e6:,.1f} MB",
    }.items():
        typer.echo(f"{name:26}{value}")
    table = Table("segment", "index", "items", "deleted", "MB", "parameters", box=None)
    for one in state.segments:
        parameters = ", ".join(f"{key} {value}" for key, value in one.parameters.items())
        row = (str(one.segment_id), one.factory, f"{one.rows:,}", f"{one.dead:,}", f"{one.bytes / 1e6:,.1f}")
        table.add_row(*row, parameters)
    if state.segments:
        Console().print(table)
    for sentence in state.degraded:
        Console().print(Text(f"degraded: {sentence}"))


def compact(folder: Folder) -> None:
    """Drop deleted items for good, merge all segments into one, and shrink the files.

    A collection in use compacts itself; this also gives the space back to the
    disk. It needs room for the database once more while it works.

    polylens collection compact ./collections/photos
    """
    done = shrink(folder)
    typer.echo(
        f"dropped {done.dropped:,} rows; {done.before / 1e6:,.1f} MB became {done.after / 1e6:,.1f} MB"
    )


def snapshot(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
) -> None:
    """Copy a collection into one file, checked and safe on the disk.

    The file is a tar archive with a checksum of each part. It is there whole or
    not at all, even if the machine stops meanwhile.

    polylens collection snapshot ./collections/photos photos.tar
    """
    with Collection.open(folder, background=False) as collection:
        done = collection.snapshot(file)
    typer.echo(f"wrote {done.path}: {done.count:,} items, {done.size / 1e6:,.1f} MB")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `polylens collection snapshot` wrote.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make, DATA/NAME; it must not exist.")],
    trusted: Annotated[
        bool, typer.Option("--trusted", help="Take over its indexes: only for a file of your own.")
    ] = False,
) -> None:
    """Make a collection of a snapshot, once every byte of it was checked.

    A file from a stranger can do no harm: anything that is not exactly a
    snapshot is refused, and nothing is left behind. Only the items are taken
    over; indexes are built again when the collection is next served, and search
    is exact until then. With --trusted they are taken over too.

    polylens collection restore photos.tar ./collections/photos --trusted
    """
    report = restore_snapshot(file, folder, trusted=trusted)
    _show(report)
    typer.echo(f"restored {folder}")


def _show(report: Report) -> None:
    model = report.identity.fingerprint[:16] if report.identity else "?"
    typer.echo(
        f"{report.live:,} items, {report.dead:,} deleted rows, {report.segments} segments,"
        f" {report.bytes / 1e6:,.1f} MB, model {model}"
    )
    if report.unclean:
        typer.echo("the process that had it open last was stopped without closing it, which is no damage")


COMMANDS = (inspect, verify, compact, snapshot, restore)
