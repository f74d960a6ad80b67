"""Second names of a store's collections, in one small file that is written anew, whole, for every change.

So a name can be switched from one collection to another in one step: to one embedded by a new model, say. The
file is replaced by renaming, which either has happened or has not, whatever cuts it short.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from .errors import CorruptCollection
from .files import Files

FILE = "aliases.json"
LOCK = "aliases.lock"


class Aliases:
    """The aliases of the store in the folder `root`: alias -> collection. Nothing is kept in memory."""

    def __init__(self, root: Path, files: Files) -> None:
        self._path, self._lock, self._files = root / FILE, root / LOCK, files

    def read(self) -> dict[str, str]:
        """All aliases by name; `CorruptCollection` if the file is damaged."""
        if not self._path.exists():
            return {}
        data = b"".join(self._files.read_blocks(self._path))
        try:
            content = json.loads(data)
            aliases = content["aliases"]
            if content["checksum"] != _checksum(aliases):
                raise ValueError("the checksum does not fit")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptCollection(
                f"{self._path} is damaged ({error}); mend it, or delete it and set the aliases again"
            ) from error
        return dict(aliases)

    def write(self, changes: Mapping[str, str | None]) -> None:
        """Sets these aliases, or removes those with None, all at once and durably."""
        lock = self._files.lock(self._lock)  # another process must not write what it read before
        try:
            aliases = {name: target for name, target in {**self.read(), **changes}.items() if target}
            content = {"aliases": aliases, "checksum": _checksum(aliases)}
            temporary = self._path.with_suffix(".tmp")
            with self._files.create(temporary) as output:
                output.write(json.dumps(content, indent=1, sort_keys=True).encode())
                output.sync()
            self._files.publish(temporary, self._path)
        finally:
            lock.release()


def _checksum(aliases: dict[str, str]) -> int:
    """CRC-32 of the aliases in the order of their names."""
    return zlib.crc32(json.dumps(sorted(aliases.items())).encode())
