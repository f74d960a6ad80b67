"""Cuts long lists into requests, and finds the way back from a reply to the caller's own positions.

D = dimensions of the model's vectors, N = entries.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InvalidInput
from .converters import embeddings_from_proto, faults_from_proto
from .errors import BatchError
from .records import Fault, Vector
from .settings import Limits

Entry = TypeVar("Entry")
Picture = str | Path | bytes | Image.Image | NDArray[Any]
LIMITS = Limits()
CHUNK_BYTES = 4 << 20  # big enough to fill a batch, small enough to be acknowledged soon
CHUNK_ENTRIES = 64
INVALID_ARGUMENT = 3


class Book:
    """Which of `total` entries went into which request, and what is known to be wrong with them."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._places: list[list[int]] = []  # of each request, the position of each of its entries
        self._faults: list[Fault] = []

    def chunks(
        self, entries: Iterable[tuple[int, Entry, int]], most: int = CHUNK_ENTRIES
    ) -> Iterator[list[Entry]]:
        """The entries in lists for one request each. An entry comes with its position and its bytes."""
        chunk: list[Entry] = []
        places: list[int] = []
        size = 0
        for position, entry, cost in entries:
            if chunk and (len(chunk) == most or size + cost > CHUNK_BYTES):
                self._places.append(places)
                yield chunk
                chunk, places, size = [], [], 0
            chunk.append(entry)
            places.append(position)
            size += cost
        if chunk:
            self._places.append(places)
            yield chunk

    def pictures(self, images: Sequence[Picture]) -> Iterator[tuple[int, bytes, int]]:
        """Position, bytes and their number of each image that can be read; the others become faults."""
        for position, image in enumerate(images):
            with self.fault_of(position):
                data = picture_bytes(image)
                yield position, data, len(data)

    @contextmanager
    def fault_of(self, position: int) -> Iterator[None]:
        """Puts an `InvalidInput` raised inside down as the entry's fault."""
        try:
            yield
        except InvalidInput as error:
            self._faults.append(Fault(position, INVALID_ARGUMENT, str(error)))

    def vectors(self, replies: Sequence[Any]) -> Vector:
        """The vectors of embedding replies, (N, D) float32; raises `BatchError` if some are missing."""
        rows: dict[int, Vector] = {}
        for places, reply in zip(self._places, replies, strict=True):
            for position, embedding in zip(places, embeddings_from_proto(reply.embeddings), strict=True):
                if embedding is not None:
                    rows[position] = embedding.vector_D
        dim = len(next(iter(rows.values()))) if rows else 0
        vectors_ND = np.full((self._total, dim), np.nan, np.float32)
        for position, row_D in rows.items():
            vectors_ND[position] = row_D
        self._raise_faults(replies, vectors_ND)
        return vectors_ND

    def results(self, replies: Sequence[Any], read: Callable[[Any], Sequence[Any]]) -> list[Any]:
        """What `read` finds in the replies for each entry; raises `BatchError` if some have nothing."""
        found: list[Any] = [None] * self._total
        for places, reply in zip(self._places, replies, strict=True):
            for position, one in zip(places, read(reply), strict=True):
                found[position] = one
        self._raise_faults(replies, found)
        return found

    def stored(self, replies: Sequence[Any]) -> int:
        """How many points upsert replies say are stored; raises `BatchError` if some are not."""
        stored = sum(int(reply.stored) for reply in replies)
        self._raise_faults(replies, stored)
        return stored

    def _raise_faults(self, replies: Sequence[Any], result: Any) -> None:
        for places, reply in zip(self._places, replies, strict=True):
            for fault in faults_from_proto(reply.errors):
                self._faults.append(Fault(places[fault.index], fault.code, fault.message))
        if self._faults:
            raise BatchError(sorted(self._faults, key=lambda fault: fault.index), self._total, result)


def picture_bytes(image: Picture) -> bytes:
    """The encoded picture: of a path the file's bytes, of a PIL image or of pixels (H, W, 3) uint8 a PNG."""
    if isinstance(image, np.ndarray):
        image = _from_pixels(image)
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        image = buffer.getvalue()
    elif isinstance(image, str | Path):
        path = Path(image)
        try:
            image = path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from error
    elif not isinstance(image, bytes):
        raise InvalidInput(f"an image is a path, bytes, an array or a PIL image, not {type(image).__name__}")
    if len(image) > LIMITS.max_image_bytes:
        raise InvalidInput(f"the image has {len(image)} bytes; at most {LIMITS.max_image_bytes} are accepted")
    return image


def _from_pixels(pixels: NDArray[Any]) -> Image.Image:
    try:
        return Image.fromarray(pixels)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"an array of {pixels.dtype} and shape {pixels.shape} is no picture") from error
