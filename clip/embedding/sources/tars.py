"""webdataset tars as img2dataset writes them: members KEY.jpg (or .png), KEY.txt and KEY.json side by side.

A tar is one unit, because nobody knows what is in it before it is read. It is read once, from its start to
its end, so that it may come through a pipe or from a bucket.
"""

import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from tarfile import HeaderError, ReadError
from typing import Self

from ....backbone.images import MAX_BYTES, SUFFIXES
from ..locations import expand, names_of, open_location
from ..samples import Reject, Sample
from ..settings import Part, Settings
from .folder import OTHER_PICTURES

PICTURES = {suffix[1:] for suffix in SUFFIXES | OTHER_PICTURES}
MAX_TEXT = 1 << 20  # bytes of a caption or of its columns
DAMAGE = (tarfile.TarError, EOFError, zlib.error)


class Strict(tarfile.TarInfo):
    """A header of a tar; what tarfile takes for a quiet end of a damaged file is an error here."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """The next header."""
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the empty blocks that end a tar
                raise
            raise ReadError(f"{error} at byte {tarfile.offset}") from error


def parts(sources: Sequence[str], settings: Settings) -> Iterator[Part]:
    """A unit for each tar."""
    locations = [location for source in sources for location in expand(source)]
    for location, name in zip(locations, names_of(locations), strict=True):
        yield Part({"tar": location, "name": name}, None)


def read(part: Part, settings: Settings) -> Iterator[Sample | Reject]:
    """The samples of a tar; where it is damaged the rest is one reject."""
    name = part.where["name"]
    group, often = Group(""), Counter[str]()
    try:
        with (
            open_location(part.where["tar"]) as file,
            tarfile.open(fileobj=file, mode="r|*", tarinfo=Strict) as tar,
        ):
            for member in tar:
                key, suffix = _split(member.name)
                if not member.isfile() or suffix not in (*PICTURES, "txt", "json"):
                    continue
                if key != group.key or suffix in group.found:
                    yield from group.samples(name, often)
                    group = Group(key)
                group.add(suffix, member, tar)
    except DAMAGE as error:
        yield from group.samples(name, often)
        yield Reject(f"{name}/", f"the tar is damaged after {group.key or 'its start'!r}: {error}")
    else:
        yield from group.samples(name, often)


def _split(member: str) -> tuple[str, str]:
    """Key and suffix: the key of a webdataset ends at the first dot of the last part of the name."""
    folder, slash, last = member.rpartition("/")
    key, _, suffix = last.partition(".")
    return folder + slash + key, suffix.lower()


class Group:
    """The members of one key that stand side by side."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.found: dict[str, bytes] = {}
        self.faults: list[str] = []

    def add(self, suffix: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Reads a member, or notes that it is too large."""
        most = MAX_BYTES if suffix in PICTURES else MAX_TEXT
        if member.size > most:
            self.faults.append(f"{member.name} has {member.size} bytes, expected at most {most}")
            self.found[suffix] = b""
            return
        content = tar.extractfile(member)
        data = content.read() if content else b""
        if len(data) < member.size:
            raise ReadError(f"it ends within {member.name}")
        self.found[suffix] = data

    def samples(self, name: str, often: Counter[str]) -> Iterator[Sample | Reject]:
        """The sample, if there are any members; a key that comes again gets a number."""
        if not self.found:
            return
        key = self.key.encode("utf-8", "backslashreplace").decode()
        often[key] += 1
        id = f"{name}/{key}" if often[key] == 1 else f"{name}/{key}#{often[key]}"
        if self.faults:
            yield Reject(id, self.faults[0])
            return
        image = next((self.found[suffix] for suffix in self.found if suffix in PICTURES), None)
        yield Sample(id, image, self.found.get("txt"), key, self.found.get("json", {}))
