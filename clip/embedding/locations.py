"""Where the files of a source lie: local paths and fsspec URLs, braces, globs, walks."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import fsspec

from ...backbone.images import read_file
from .errors import BadSample, BadSource

# At least two letters, so that a drive letter is no scheme; `zip://…::https://…` chains file systems.
URL = re.compile(r"[a-z][a-z0-9+.-]+(::|://)", re.IGNORECASE)
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
MAGIC = re.compile(r"[*?\[]")


def is_url(location: str) -> bool:
    """Whether fsspec is to open it, rather than the system."""
    return URL.match(location) is not None


def expand(source: str) -> list[str]:
    """The locations that braces and globs stand for: braces in their order, the matches of a glob sorted."""
    found: list[str] = []
    for one in braces(source):
        if not MAGIC.search(one.partition("::")[0]) or (not is_url(one) and os.path.exists(one)):
            found.append(one)
        elif is_url(one):
            found += sorted(str(file.full_name) for file in fsspec.open_files(one, "rb", expand=True))
        else:
            found += sorted(glob.glob(os.path.expanduser(one), recursive=True))
    if not found:
        raise BadSource(f"nothing matches {source}")
    return found


def braces(pattern: str) -> list[str]:
    """`a{00..02}` -> a00, a01, a02 and `{x,y}` -> x, y; the width of the first number counts."""
    match = BRACES.search(pattern)
    if match is None:
        return [pattern]
    if numbers := RANGE.fullmatch(match[1]):
        first, last = int(numbers[1]), int(numbers[2])
        step = 1 if last >= first else -1
        choices = [str(n).zfill(len(numbers[1])) for n in range(first, last + step, step)]
    elif "," in match[1]:
        choices = match[1].split(",")
    else:  # braces that mean nothing stay as they are
        head = pattern[: match.end()]
        return [head + rest for rest in braces(pattern[match.end() :])]
    tails = braces(pattern[match.end() :])
    return [pattern[: match.start()] + choice + tail for choice in choices for tail in tails]


def names_of(locations: Sequence[str]) -> list[str]:
    """A short name of each: its path below the folder that they share, or its last part alone."""
    parts = [location.split("::")[0].rstrip("/").split("/") for location in locations]
    shared = os.path.commonprefix([names[:-1] for names in parts])
    names = ["/".join(one[len(shared) :]) for one in parts]
    if len(set(names)) < len(names):
        raise BadSource("a file of the source is given twice")
    return names


def open_location(location: str) -> Any:
    """The file, open for reading bytes; OSError if that fails."""
    if not is_url(location):
        return open(location, "rb")
    system, path = _system(location)
    return system.open(path, "rb")


def _system(location: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. An archive is opened once, and stays open."""
    head, link, rest = location.partition("::")
    if not link:
        system, path = fsspec.core.url_to_fs(location)
        return system, path
    archive = _archive(head.partition("://")[0], rest)
    return archive, archive._strip_protocol(head)


@cache
def _archive(scheme: str, rest: str) -> Any:
    return fsspec.core.url_to_fs(f"{scheme}://::{rest}")[0]


def read_location(location: str, most: int) -> bytes:
    """All bytes of a file of at most `most`; `BadSample` if it is absent, larger or no regular file."""
    if not is_url(location):
        return read_file(location, most)
    try:
        with open_location(location) as file:
            data: bytes = file.read(most + 1)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise BadSample(f"cannot be opened: {error.strerror or type(error).__name__}") from error
    if len(data) > most:
        raise BadSample(f"has more than {most} bytes")
    return data


def walk(root: str) -> Iterator[tuple[str, list[str]]]:
    """(folder below the root, the names of its files, sorted), depth first; hidden names are left out."""
    yield from _walk_url(root) if is_url(root) else _walk_local(root, "")


def _walk_local(root: str, below: str) -> Iterator[tuple[str, list[str]]]:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                # A link to a folder is not followed: it may lead back.
                (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    yield below, sorted(files)
    del files
    for name in sorted(folders):
        yield from _walk_local(root, f"{below}{name}/")


def _walk_url(root: str) -> Iterator[tuple[str, list[str]]]:
    system, top = _system(root)
    pending = [top.rstrip("/")]
    while pending:
        folder = pending.pop()
        entries = [(e["name"].rstrip("/"), e["type"]) for e in system.ls(folder, detail=True)]
        shown = [(name, kind) for name, kind in entries if not name.rpartition("/")[2].startswith(".")]
        below = folder[len(top.rstrip("/")) :].lstrip("/")
        yield below and f"{below}/", sorted(n.rpartition("/")[2] for n, kind in shown if kind == "file")
        pending += sorted((name for name, kind in shown if kind == "directory"), reverse=True)


def joined(root: str, below: str) -> str:
    """The location of a name below a folder; of a chained URL, within its first file system."""
    head, link, rest = root.partition("::")
    return f"{head.rstrip('/')}/{below}{link}{rest}"
