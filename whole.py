"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object], *, sync: bool = False) -> None:
    """Nothing; `path` then holds what `write` wrote to a temporary neighbour, or is as it was.

    With `sync` the content is on disk before the name changes, so that a power cut leaves the old or the new.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write(temporary)
        if sync:
            sync_path(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def clear_leftovers(path: Path) -> None:
    """Removes what killed processes left beside the path; for moments when nobody else is writing it."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


def sync_path(path: Path) -> None:
    """Returns when the content of the file, or the names in the folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
