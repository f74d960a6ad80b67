"""Pictures of stored points, for people to look at: only files it was told of, or below one folder.

What leaves is a small picture made anew, without the notes (place, camera, name) that the file may hold.
"""

import asyncio
import functools
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from starlette.responses import Response

from ...clip.images import SUFFIXES, open_image
from ...errors import InvalidInput
from ..engine import Engine
from ..errors import PointNotFound
from ..records import Hit

SIDE = 384  # pixels: twice a tile of the page, for sharp screens
KEPT = 512  # small pictures in memory, about 20 KB each
AT_ONCE = 2


class Gallery:
    """`files` has the file of points by collection and id; others show what their metadata's `path` names, if
    it lies below `root`.
    """

    def __init__(
        self, files: Mapping[str, Mapping[str, Path]] | None = None, root: Path | None = None
    ) -> None:
        self._files, self._root = files or {}, root and Path(os.path.realpath(root))
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def known(self, collection: str, hits: Sequence[Hit]) -> list[bool]:
        """Whether there may be a picture of each hit."""
        files = self._files.get(collection, {})
        if self._root is None:
            return [hit.id in files for hit in hits]
        return await asyncio.to_thread(
            lambda: [hit.id in files or self._below(hit.metadata) is not None for hit in hits]
        )

    async def picture(self, collection: str, id: str, engine: Engine) -> Response:
        """The small picture of a point; `PointNotFound` when there is none to show."""
        file = self._files.get(collection, {}).get(id)
        if file is None and self._root is not None:
            (point,) = await engine.get(collection, [id])
            file = await asyncio.to_thread(self._below, point.metadata) if point else None
        if file is None:
            raise PointNotFound(id)
        async with self._turn:
            try:
                data = await asyncio.to_thread(_small_of, file)
            except (InvalidInput, OSError):
                raise PointNotFound(id) from None  # its message would name the file
        headers = {"cache-control": "private, max-age=300"}
        return Response(data, media_type="image/webp", headers=headers)

    def _below(self, metadata: Mapping[str, Any]) -> Path | None:
        """The file that the metadata names, links followed, if it is a picture below the root."""
        path = metadata.get("path")
        if self._root is None or not isinstance(path, str) or "\0" in path:
            return None
        file = Path(os.path.realpath(self._root / path))
        return file if file.is_relative_to(self._root) and file.suffix.lower() in SUFFIXES else None


def _small_of(file: Path) -> bytes:
    return _small(file, file.stat().st_mtime_ns)


@functools.lru_cache(KEPT)
def _small(file: Path, changed: int) -> bytes:
    """A WebP of at most SIDE pixels a side, upright, on white; kept until the file changes."""
    image = ImageOps.exif_transpose(open_image(file))
    image.thumbnail((SIDE, SIDE))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "WEBP", quality=85)
    return buffer.getvalue()
