"""Which kind of source a location is, by its name or by what lies in it."""

import os
from collections.abc import Sequence
from types import MappingProxyType

from ..errors import BadSource
from ..locations import expand, is_url, joined, open_location
from ..settings import Kind
from . import folder, hugging_face, json_lines, lines, parquet, tars

KINDS = MappingProxyType[str, Kind](
    {
        "folder": folder,
        "tars": tars,
        "parquet": parquet,
        "jsonl": json_lines,
        "datasets": hugging_face,
        "lines": lines,
    }
)
ENDINGS = {
    (".tar", ".tar.gz", ".tgz"): "tars",
    (".parquet",): "parquet",
    (".jsonl", ".ndjson"): "jsonl",
    (".txt",): "lines",
}


def kind_of(sources: Sequence[str]) -> str:
    """The kind of the sources, which must be of one kind; `BadSource` if they are of none."""
    kinds = {_kind(location) for source in sources for location in expand(source)[:1]}
    if len(kinds) > 1:
        raise BadSource(f"the sources are of several kinds: {', '.join(sorted(kinds))}")
    (kind,) = kinds
    if kind in ("folder", "datasets") and len(sources) > 1:
        raise BadSource(f"got {len(sources)} folders, expected one")
    return kind


def _kind(location: str) -> str:
    name = location.partition("::")[0].lower()
    for endings, kind in ENDINGS.items():
        if name.endswith(endings) and not os.path.isdir(location):
            return kind
    if not is_url(location) and not os.path.isdir(location):
        what = "of no known kind" if os.path.exists(location) else "absent"
        raise BadSource(f"{location} is {what}; expected a folder, .tar, .parquet, .jsonl or .txt files")
    for marker in (hugging_face.STATE, hugging_face.SPLITS):
        try:
            with open_location(joined(location, marker)):
                return "datasets"
        except OSError:
            continue
    return "folder"
