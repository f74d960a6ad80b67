"""JSON lines: an object on each line, with a caption and a path or the base64 of a picture."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ..locations import expand, open_location
from ..samples import Reject, Sample
from ..settings import Part, Settings
from . import lines
from .rows import Columns, sample_of


def parts(sources: Sequence[str], settings: Settings) -> Iterator[Part]:
    """Units of so many lines."""
    for source in sources:
        for location in expand(source):
            with open_location(location) as file:
                row = _object(file.readline())
            if isinstance(row, dict):
                Columns.found(row, settings).check(row, location, settings)
    return lines.parts(sources, settings)


def read(part: Part, settings: Settings) -> Iterator[Sample | Reject]:
    """The samples of a unit."""
    for id, line in lines.lines_of(part):
        row = _object(line)
        if isinstance(row, str):
            yield Reject(id, row)
        else:
            yield sample_of(id, row, Columns.found(row, settings), part.where["file"])


def _object(line: bytes) -> dict[str, Any] | str:
    """The JSON object of a line, or what is wrong with it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"the line is not JSON: {error}"
    return row if isinstance(row, dict) else f"the line is a JSON {type(row).__name__}, expected an object"
