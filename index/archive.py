"""The archive of a snapshot: a plain tar that is written, and accepted, in one form only.

    manifest.json        what the collection is, and name, size and SHA-256 of every other member, in order
    collection.db        the SQLite database
    segments/<n>.rows    the files of its sealed segments, and segments/<n>.faiss

`tar -tf` lists it, `tar -xf` unpacks it. Reading is stricter than any tar program, as an archive may come
from a stranger: a member is taken only if it is a regular file and the very next one that the manifest
announces, with that size. So there are no links, devices, paths, duplicates or surplus members to be careful
with, and what goes to the disk is known before anything is written, and no more than the archive has itself.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .database import DATABASE
from .errors import CorruptSnapshot

MANIFEST = "manifest.json"
KIND, VERSION = "polylens collection snapshot", 1
MAX_MANIFEST = 2**20
BLOCK = tarfile.BLOCKSIZE
_NAME = re.compile(r"collection\.db|segments/[1-9][0-9]{0,18}\.(rows|faiss)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
Put = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the collection."""

    name: str
    size: int
    sha256: str


def measured(name: str, blocks: Iterable[bytes]) -> Member:
    """The member that these bytes make."""
    size, digest = 0, hashlib.sha256()
    for block in blocks:
        size += len(block)
        digest.update(block)
    return Member(name, size, digest.hexdigest())


def write(put: Put, about: Mapping[str, Any], members: Sequence[tuple[Member, Iterable[bytes]]]) -> None:
    """Writes an archive of these members; `about` goes to the manifest."""
    content = {"kind": KIND, "version": VERSION, "collection": dict(about)}
    text = json.dumps(content | {"members": [asdict(member) for member, _ in members]}, indent=1).encode()
    if len(text) > MAX_MANIFEST:
        raise CorruptSnapshot(f"the manifest has {len(text)} bytes, expected at most {MAX_MANIFEST}")
    _write_member(put, measured(MANIFEST, [text]), [text])
    for member, blocks in members:
        _write_member(put, member, blocks)
    put(bytes(2 * BLOCK))


def _write_member(put: Put, member: Member, blocks: Iterable[bytes]) -> None:
    header = tarfile.TarInfo(member.name)
    header.size = member.size
    put(header.tobuf(tarfile.GNU_FORMAT))
    size = 0
    for block in blocks:
        size += len(block)
        put(block)
    if size != member.size:
        raise CorruptSnapshot(
            f"{member.name} changed while it was copied: {size} bytes, {member.size} before"
        )
    put(bytes(-size % BLOCK))


class Reader:
    """An archive read from start to end; `CorruptSnapshot` at the first thing that is not as it must be."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""
        size = self._header(MANIFEST)
        if size > MAX_MANIFEST:
            raise CorruptSnapshot(f"the manifest has {size} bytes, expected at most {MAX_MANIFEST}")
        self.about, self.members = _parsed(b"".join(self._content(size)))

    def content(self, member: Member) -> Iterator[bytes]:
        """The bytes of the next member, verified at their end."""
        size = self._header(member.name)
        if size != member.size:
            raise CorruptSnapshot(f"{member.name} has {size} bytes, its manifest says {member.size}")
        digest = hashlib.sha256()
        for block in self._content(size):
            digest.update(block)
            yield block
        if digest.hexdigest() != member.sha256:
            raise CorruptSnapshot(f"{member.name} is damaged: its SHA-256 is not the one in the manifest")

    def finish(self) -> None:
        """Refuses anything behind the last member but the end mark of a tar."""
        rest = self._rest
        for block in self._blocks:
            if block.strip(b"\0"):
                break
            rest = rest[:BLOCK] + block[:BLOCK]
        else:
            if len(rest) >= BLOCK and not rest.strip(b"\0"):
                return
        raise CorruptSnapshot("the archive does not end behind the members of its manifest")

    def _take(self, limit: int) -> bytes:
        """The next bytes, at most `limit` of them; none at the end."""
        if not self._rest:
            self._rest = next(self._blocks, b"")
        taken, self._rest = self._rest[:limit], self._rest[limit:]
        return taken

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            block = self._take(size)
            if not block:
                raise CorruptSnapshot(f"the archive ends {size} bytes too early")
            size -= len(block)
            yield block

    def _content(self, size: int) -> Iterator[bytes]:
        yield from self._exactly(size)
        for _ in self._exactly(-size % BLOCK):
            pass

    def _header(self, expected: str) -> int:
        """The size of the next member, which must be a regular file of the expected name."""
        try:
            found = tarfile.TarInfo.frombuf(b"".join(self._exactly(BLOCK)), "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise CorruptSnapshot(f"no header of {expected} where one is expected: {error}") from None
        if found.name != expected or found.type != tarfile.REGTYPE or found.size < 0:
            kind = "regular file" if found.isreg() else f"member of type {found.type!r}"
            raise CorruptSnapshot(
                f"found the {kind} {found.name!r:.200}, expected the regular file {expected!r}"
            )
        return found.size


def _parsed(text: bytes) -> tuple[dict[str, Any], list[Member]]:
    """What the manifest says of the collection, and the members it announces."""
    try:
        content = json.loads(text)
        kind, version = content["kind"], content["version"]
        if (kind, version) != (KIND, VERSION):
            raise CorruptSnapshot(
                f"this is a {kind!r:.100} of version {version!r:.20}, expected {KIND} of {VERSION}"
            )
        members = [Member(one["name"], one["size"], one["sha256"]) for one in content["members"]]
        about = dict(content["collection"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CorruptSnapshot(f"the manifest is not one: {error!r:.200}") from None
    for member in members:
        if not (isinstance(member.name, str) and _NAME.fullmatch(member.name)):
            raise CorruptSnapshot(f"the manifest names {member.name!r:.200}, which no collection has")
        if type(member.size) is not int or not 0 <= member.size < 2**63:
            raise CorruptSnapshot(f"the manifest gives {member.name} {member.size!r:.50} bytes")
        if not (isinstance(member.sha256, str) and _DIGEST.fullmatch(member.sha256)):
            raise CorruptSnapshot(f"the manifest gives {member.name} no SHA-256")
    names = [member.name for member in members]
    if len(set(names)) < len(names) or names[:1] != [DATABASE]:
        raise CorruptSnapshot(f"the manifest must name {DATABASE} first, and each member once")
    return about, members
