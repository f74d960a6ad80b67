"""parquet tables, with a caption and the bytes or the path of a picture in each row."""

from collections.abc import Iterator, Sequence
from typing import Any

from ....errors import require
from ..errors import BadSource
from ..locations import expand, names_of, open_location
from ..samples import Reject, Sample
from ..settings import Part, Settings
from .rows import Columns, sample_of

ROWS = 64  # read at a time: pictures are large


def parts(sources: Sequence[str], settings: Settings) -> Iterator[Part]:
    """Units of so many rows, from the footers of the tables alone."""
    pyarrow, parquet = require("pyarrow", "embed"), require("pyarrow.parquet", "embed")
    locations = [location for source in sources for location in expand(source)]
    for location, name in zip(locations, names_of(locations), strict=True):
        with open_location(location) as file:
            try:
                table = parquet.ParquetFile(file)
            except pyarrow.ArrowException as error:
                raise BadSource(f"{location} is no parquet table: {error}") from error
            names = table.schema_arrow.names
            Columns.found(names, settings).check(names, location, settings)
            rows = table.metadata.num_rows
        for first in range(0, rows, settings.unit_size):
            where = {"file": location, "name": name, "first": first}
            yield Part(where, min(settings.unit_size, rows - first))


def read(part: Part, settings: Settings) -> Iterator[Sample | Reject]:
    """The samples of a unit. Only the row groups that hold its rows are read."""
    parquet = require("pyarrow.parquet", "embed")
    with open_location(part.where["file"]) as file:
        table = parquet.ParquetFile(file)
        columns = Columns.found(table.schema_arrow.names, settings)
        groups, skipped = _groups(table.metadata, part)
        batches = table.iter_batches(ROWS, row_groups=groups, columns=_wanted(table, columns, settings))
        yield from samples(batches, skipped, part, columns)


def _groups(metadata: Any, part: Part) -> tuple[list[int], int]:
    """The row groups that hold the unit's rows, and how many of their rows come before it."""
    first = part.where["first"]
    last, begin, groups, skipped = first + (part.samples or 0), 0, list[int](), 0
    for group in range(metadata.num_row_groups):
        end = begin + metadata.row_group(group).num_rows
        if begin < last and end > first:
            skipped = skipped if groups else first - begin
            groups.append(group)
        begin = end
    return groups, skipped


def _wanted(table: Any, columns: Columns, settings: Settings) -> list[str]:
    """The columns to read: all but pictures that nobody asked for and other bytes."""
    names = [f.name for f in table.schema_arrow if not str(f.type).startswith(("binary", "large_binary"))]
    names = [name for name in names if name != columns.image]
    return names + [columns.image] * (settings.images and columns.image is not None)


def samples(batches: Iterator[Any], skipped: int, part: Part, columns: Columns) -> Iterator[Sample | Reject]:
    """The samples of the rows of record batches, without those before the unit and after it."""
    first, name = part.where["first"], part.where["name"]
    position, count = -skipped, part.samples or 0
    for batch in batches:
        if position + len(batch) <= 0:  # all of it lies before the unit
            position += len(batch)
            continue
        for row in batch.to_pylist():
            if 0 <= position < count:
                yield sample_of(f"{name}:{first + position}", row, columns, part.where["file"])
            position += 1
        if position >= count:
            return
