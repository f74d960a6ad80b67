"""Pictures of stored points, for people to look at.

What leaves is a small picture made anew, without the notes (place, camera, name) that the file may hold.
"""

import asyncio
import functools
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps
from starlette.responses import Response

from ...clip.images import open_image
from ...errors import InvalidInput
from ..engine import Engine
from ..errors import PointNotFound
from ..originals import Originals
from ..records import Hit

SIDE = 384  # pixels: twice a tile of the page, for sharp screens
KEPT = 512  # small pictures in memory, about 20 KB each
AT_ONCE = 2


class Gallery:
    """Shows what `originals` knows."""

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def known(self, collection: str, hits: Sequence[Hit]) -> list[bool]:
        """Whether there may be a picture of each hit."""

        def look() -> list[bool]:
            return [self._originals.file(collection, hit.id, hit.metadata) is not None for hit in hits]

        return await asyncio.to_thread(look) if self._originals.on_disk else look()

    async def picture(self, collection: str, id: str, engine: Engine) -> Response:
        """The small picture of a point; `PointNotFound` when there is none to show."""
        file = self._originals.file(collection, id, {})
        if file is None and self._originals.on_disk:
            (point,) = await engine.get(collection, [id])
            if point is not None:
                file = await asyncio.to_thread(self._originals.file, collection, id, point.metadata)
        if file is None:
            raise PointNotFound(id)
        async with self._turn:
            try:
                data = await asyncio.to_thread(_small_of, file)
            except (InvalidInput, OSError):
                raise PointNotFound(id) from None  # its message would name the file
        headers = {"cache-control": "private, max-age=300"}
        return Response(data, media_type="image/webp", headers=headers)


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
