"""A disk that may forget what was not synced: the journal of calls, and images after a power cut.

The model is stricter than most file systems. Of what was not synced, any subset may be on the disk: later
writes without earlier ones, and parts of one write (torn at sectors of 512 bytes). A file's content needs a
sync of the file; its name needs a sync of the folder, and so do renaming and removing.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

SECTOR = 512
ROOT = 0

Entry = tuple[str, int | None]  # a name in a folder, and the node it leads to from now on


@dataclass(frozen=True, slots=True)
class Call:
    """One call that changed something: `node` is the file or folder."""

    kind: str  # file, folder, write, truncate, entries, sync, ack
    node: int
    offset: int = 0  # also the new size of a truncate, and the number of an acknowledgement
    data: bytes = b""
    entries: tuple[Entry, ...] = ()


class Journal:
    """Writes calls down by path, in order. Paths outside the root are ignored."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[Call] = []
        self._folders: dict[int, dict[str, int]] = {ROOT: {}}  # as the running program sees it
        self._count = 1
        self._note(Call("folder", ROOT))

    def _note(self, call: Call) -> None:
        self.calls.append(call)

    def _place(self, path: PurePath) -> tuple[int, str]:
        """The node of the parent folder, and the name."""
        *parents, name = path.relative_to(self.root).parts
        node = ROOT
        for parent in parents:
            node = self._folders[node][parent]
        return node, name

    def node(self, path: PurePath) -> int:
        if path == self.root:
            return ROOT
        parent, name = self._place(path)
        return self._folders[parent][name]

    def covers(self, path: PurePath) -> bool:
        return path.is_relative_to(self.root)

    def _link(self, parent: int, *entries: Entry) -> None:
        for name, node in entries:
            if node is None:
                self._folders[parent].pop(name, None)
            else:
                self._folders[parent][name] = node
        self._note(Call("entries", parent, entries=entries))

    def create(self, path: PurePath, kind: str = "file") -> None:
        """A new file or folder; an existing file is emptied."""
        parent, name = self._place(path)
        if name in self._folders[parent]:
            self.truncate(path, 0)
            return
        node, self._count = self._count, self._count + 1
        if kind == "folder":
            self._folders[node] = {}
        self._note(Call(kind, node))
        self._link(parent, (name, node))

    def write(self, path: PurePath, offset: int, data: bytes) -> None:
        self._note(Call("write", self.node(path), offset, data))

    def truncate(self, path: PurePath, size: int) -> None:
        self._note(Call("truncate", self.node(path), size))

    def sync(self, path: PurePath) -> None:
        self._note(Call("sync", self.node(path)))

    def rename(self, source: PurePath, target: PurePath) -> None:
        (parent, old), (other, new) = self._place(source), self._place(target)
        node = self._folders[parent][old]
        if parent == other:
            self._link(parent, (old, None), (new, node))
        else:  # each folder is synced for itself
            self._link(other, (new, node))
            self._link(parent, (old, None))

    def link(self, source: PurePath, target: PurePath) -> None:
        """Gives a file a second name."""
        (parent, old), (other, new) = self._place(source), self._place(target)
        self._link(other, (new, self._folders[parent][old]))

    def unlink(self, path: PurePath) -> None:
        parent, name = self._place(path)
        if name in self._folders[parent]:
            self._link(parent, (name, None))

    def remove_folder(self, path: PurePath) -> None:
        node = self.node(path)
        for name, child in list(self._folders[node].items()):
            if child in self._folders:
                self.remove_folder(path / name)
            else:
                self._link(node, (name, None))
        parent, name = self._place(path)
        self._link(parent, (name, None))

    def ack(self, number: int) -> None:
        """Notes that operation `number` was acknowledged."""
        self._note(Call("ack", ROOT, number))


@dataclass(slots=True)
class Node:
    """What is certainly on the disk, and the calls of which any subset may be."""

    content: bytearray = field(default_factory=bytearray)
    entries: dict[str, int] | None = None  # of a folder
    pending: list[Call] = field(default_factory=list)


class Platter:
    """The disk while a journal is played to it, call by call."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.acknowledged = 0  # operations

    def play(self, call: Call) -> None:
        if call.kind == "ack":
            self.acknowledged = call.offset + 1
        elif call.kind in ("file", "folder"):
            self.nodes[call.node] = Node(entries={} if call.kind == "folder" else None)
        elif call.kind == "sync":
            node = self.nodes[call.node]
            node.content, node.entries = settled(node, node.pending)
            node.pending = []
        else:
            self.nodes[call.node].pending.append(call)

    def image(self, generator: random.Random) -> dict[str, bytes | None]:
        """The content by relative path that one power cut might leave; None marks a folder."""
        keep = generator.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        return dict(self._walk(ROOT, "", generator, keep))

    def _walk(
        self, number: int, path: str, generator: random.Random, keep: float
    ) -> Iterator[tuple[str, bytes | None]]:
        node = self.nodes[number]
        kept = [part for call in node.pending if generator.random() < keep for part in torn(call, generator)]
        content, entries = settled(node, kept)
        if entries is None:
            yield path, bytes(content)
            return
        yield path, None
        for name, child in entries.items():
            yield from self._walk(child, f"{path}/{name}" if path else name, generator, keep)


def torn(call: Call, generator: random.Random) -> list[Call]:
    """The call, or now and then only some sectors of a write."""
    if call.kind != "write" or generator.random() < 0.8:
        return [call]
    first = SECTOR - call.offset % SECTOR
    starts = [0, *range(first, len(call.data), SECTOR), len(call.data)]
    return [
        Call("write", call.node, call.offset + start, call.data[start:end])
        for start, end in zip(starts, starts[1:], strict=False)
        if generator.random() < 0.5
    ]


def settled(node: Node, calls: list[Call]) -> tuple[bytearray, dict[str, int] | None]:
    """Content and entries with these calls carried out."""
    content, entries = bytearray(node.content), None if node.entries is None else dict(node.entries)
    for call in calls:
        if call.kind == "write":
            content.extend(bytes(max(0, call.offset - len(content))))
            content[call.offset : call.offset + len(call.data)] = call.data
        elif call.kind == "truncate":
            del content[call.offset :]
            content.extend(bytes(call.offset - len(content)))
        elif entries is not None:
            for name, child in call.entries:
                if child is None:
                    entries.pop(name, None)
                else:
                    entries[name] = child
    return content, entries


def lay_out(image: dict[str, bytes | None], folder: Path) -> None:
    """Writes an image into a folder that does not exist yet."""
    for path, content in image.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
