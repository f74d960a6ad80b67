"""Finds pictures and videos on disk."""

from collections.abc import Collection, Iterable
from pathlib import Path

from ..clip.images import SUFFIXES
from ..errors import InvalidInput


def find_pictures(paths: Iterable[Path]) -> dict[str, Path]:
    """Each picture by its id: its path below the folder given, or its name where the file itself is given."""
    return find_files(paths, SUFFIXES, "pictures")


def find_files(paths: Iterable[Path], suffixes: Collection[str], what: str) -> dict[str, Path]:
    """The same for files with other suffixes, which are called `what`."""
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes)
            named = {file.relative_to(path).as_posix(): file for file in files if file.is_file()}
        elif path.is_file():
            named = {path.name: path}
        else:
            raise InvalidInput(f"{path} is neither a file nor a folder")
        for id, file in named.items():
            if found.setdefault(id, file) != file:
                raise InvalidInput(f"{found[id]} and {file} would have the same id {id!r}")
    if not found:
        raise InvalidInput(f"no {what} found; looked for {', '.join(sorted(suffixes))}")
    return found
