"""Making a collection's files small again: dead rows dropped, free pages given back to the disk."""

from dataclasses import dataclass
from pathlib import Path

from .collection import Collection
from .files import Files


@dataclass(frozen=True, slots=True)
class Shrunk:
    """Dead rows dropped, and bytes on the disk before and after."""

    dropped: int
    before: int
    after: int


def shrink(folder: Path, files: Files | None = None) -> Shrunk:
    """What became of the collection in the folder, which nobody else may have open.

    Needs room for its database once more: SQLite writes it anew.
    """
    before = _size(folder)
    with Collection.open(folder, files=files, background=False) as collection:
        dropped = collection.compact()
        collection.vacuum()
    return Shrunk(dropped, before, _size(folder))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
