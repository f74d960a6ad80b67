"""Text files: a text on each line."""

from collections.abc import Iterator, Sequence
from itertools import islice

from ..locations import expand, names_of, open_location
from ..samples import Reject, Sample
from ..settings import Part, Settings


def parts(sources: Sequence[str], settings: Settings) -> Iterator[Part]:
    """Units of so many lines, by their place in the file, which is read once for that."""
    locations = [location for source in sources for location in expand(source)]
    for location, name in zip(locations, names_of(locations), strict=True):
        with open_location(location) as file:
            first = offset = 0
            while sizes := [len(line) for line in islice(file, settings.unit_size)]:
                where = {"file": location, "name": name, "offset": offset, "first": first}
                yield Part(where, len(sizes))
                first, offset = first + len(sizes), offset + sum(sizes)


def read(part: Part, settings: Settings) -> Iterator[Sample | Reject]:
    """The samples of a unit: each line a text."""
    for id, line in lines_of(part):
        try:
            yield Sample(id, text=line.decode("utf-8"))
        except UnicodeDecodeError:
            yield Reject(id, "the line is not UTF-8")


def lines_of(part: Part) -> Iterator[tuple[str, bytes]]:
    """(id, line) of a unit; ids count from 1, as editors do."""
    first = part.where["first"]
    with open_location(part.where["file"]) as file:
        file.seek(part.where["offset"])
        for number, line in enumerate(islice(file, part.samples), first + 1):
            yield f"{part.where['name']}:{number}", line.rstrip(b"\r\n")
