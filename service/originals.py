"""The picture files of stored points: only those it was told of, or below one folder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..clip.images import SUFFIXES

Files = Mapping[str, Mapping[str, Path]]  # by collection and id


class Originals:
    """Knows files by collection and id; of other points what their metadata's `path` names below `root`."""

    def __init__(self, root: Path | None = None) -> None:
        self._files: dict[str, Mapping[str, Path]] = {}
        self._root = root and Path(os.path.realpath(root))

    @property
    def on_disk(self) -> bool:
        """Whether `file` may have to look at the disk."""
        return self._root is not None

    def add(self, files: Files) -> None:
        """Takes files by collection and id."""
        self._files.update(files)

    def file(self, collection: str, id: str, metadata: Mapping[str, Any]) -> Path | None:
        """The file of a point, links followed; None if there is none that may be shown."""
        return self._files.get(collection, {}).get(id) or self._below(metadata)

    def _below(self, metadata: Mapping[str, Any]) -> Path | None:
        path = metadata.get("path")
        if self._root is None or not isinstance(path, str) or "\0" in path:
            return None
        file = Path(os.path.realpath(self._root / path))
        return file if file.is_relative_to(self._root) and file.suffix.lower() in SUFFIXES else None
