"""A folder of Hugging Face `datasets`, as `save_to_disk` writes it, read without that package."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ....errors import require
from ..errors import BadSource
from ..locations import is_url, joined, open_location
from ..samples import Reject, Sample
from ..settings import Part, Settings
from .parquet import ROWS, samples
from .rows import Columns

STATE, SPLITS = "state.json", "dataset_dict.json"


def parts(sources: Sequence[str], settings: Settings) -> Iterator[Part]:
    """Units of so many rows, of each split in turn."""
    (root,) = sources
    splits = _json(joined(root, SPLITS))
    for split in splits["splits"] if splits else [""]:
        folder = joined(root, split) if split else root
        state = _json(joined(folder, STATE))
        if state is None:
            raise BadSource(f"{folder} is no folder of datasets: it has no {STATE}")
        if state.get("_indices_data_files"):
            raise BadSource(f"{folder} holds a selection by index; newer versions of datasets save the rows")
        for file in state["_data_files"]:
            name = f"{split}/{file['filename']}" if split else file["filename"]
            yield from _parts(joined(folder, file["filename"]), name, settings)


def _parts(location: str, name: str, settings: Settings) -> Iterator[Part]:
    with _stream(location) as stream:
        Columns.found(stream.schema.names, settings).check(stream.schema.names, location, settings)
        rows = sum(len(batch) for batch in stream)
    for first in range(0, rows, settings.unit_size):
        where = {"file": location, "name": name, "first": first}
        yield Part(where, min(settings.unit_size, rows - first))


def read(part: Part, settings: Settings) -> Iterator[Sample | Reject]:
    """The samples of a unit."""
    with _stream(part.where["file"]) as stream:
        columns = Columns.found(stream.schema.names, settings)
        unused = [] if settings.images else [columns.image]
        wanted = [name for name in stream.schema.names if name not in unused]
        pieces = (batch.select(wanted).slice(i, ROWS) for batch in stream for i in range(0, len(batch), ROWS))
        yield from samples(pieces, part.where["first"], part, columns)


def _json(location: str) -> dict[str, Any] | None:
    try:
        with open_location(location) as file:
            content: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    return content


@contextmanager
def _stream(location: str) -> Iterator[Any]:
    """The record batches of an arrow file; of a local one only what is looked at is read."""
    pyarrow = require("pyarrow", "embed")
    with open_location(location) if is_url(location) else pyarrow.memory_map(location) as file:
        try:
            with pyarrow.ipc.open_stream(file) as stream:
                yield stream
        except pyarrow.ArrowInvalid as error:
            raise BadSource(f"{location} is no arrow stream: {error}") from error
