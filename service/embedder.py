"""Texts and pictures to vectors, in batches formed across callers."""

import asyncio
import io
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InvalidInput
from .batching import Batcher
from .checks import check_image, check_text
from .errors import NotReady
from .records import Done, Embedded, Embedding, Encoder, Vector
from .settings import Limits, Settings
from .stopwatch import Stopwatch
from .threads import Device


class Embedder:
    """One batcher for texts and one for images, which take turns on the encoder's device."""

    def __init__(self, encoder: Encoder, settings: Settings, limits: Limits) -> None:
        self._encoder, self._limits = encoder, limits
        self._device = Device()
        batcher = partial(
            Batcher,
            device=self._device,
            max_size=settings.max_batch,
            max_wait=settings.max_wait_ms / 1000,
            max_pending=settings.max_queue,
        )
        self._texts: Batcher[str, tuple[Any, bool], Embedding] = batcher(self._prepare_text, self._run_texts)
        self._images: Batcher[bytes, Any, Embedding] = batcher(
            self._prepare_image, self._run_images, workers=settings.workers
        )

    def start(self) -> None:
        """Begin to accept work."""
        self._texts.start()
        self._images.start()

    async def close(self) -> None:
        """Finish the batch that runs, refuse what waits."""
        for part in (self._texts, self._images, self._device):
            await part.close()

    async def canary(self) -> None:
        """Returns when a text and an image have become vectors, by way of the queues that requests take."""
        await asyncio.gather(self._texts.submit("canary"), self._images.submit(_canary_image()))

    async def texts(self, texts: Sequence[str], watch: Stopwatch) -> Embedded:
        """An embedding or an error for each text."""
        return await _embedded(self._texts, texts, watch)

    async def images(self, images: Sequence[bytes], watch: Stopwatch) -> Embedded:
        """An embedding or an error for each encoded picture."""
        return await _embedded(self._images, images, watch)

    def _prepare_text(self, text: str) -> tuple[Any, bool]:
        check_text(text, self._limits)
        return self._encoder.prepare_text(text), self._encoder.text_truncated(text)

    def _run_texts(self, entries: list[tuple[Any, bool]]) -> list[Embedding | Exception]:
        vectors_ND = self._encoder.embed_ids([ids for ids, _ in entries])
        return _checked(vectors_ND, [truncated for _, truncated in entries])

    def _prepare_image(self, image: bytes) -> Any:
        return self._encoder.prepare_image(check_image(image, self._limits))

    def _run_images(self, entries: list[Any]) -> list[Embedding | Exception]:
        return _checked(self._encoder.embed_pixels(entries), [False] * len(entries))


async def _embedded(
    batcher: Batcher[Any, Any, Embedding], entries: Sequence[Any], watch: Stopwatch
) -> Embedded:
    embeddings: list[Embedding | None] = []
    errors: dict[int, Exception] = {}
    for position, result in enumerate(await batcher.submit_all(entries)):
        if isinstance(result, Done):
            watch.note(result)
            embeddings.append(result.value)
        elif isinstance(result, Exception) and not isinstance(result, NotReady):
            errors[position] = result
            embeddings.append(None)
        else:
            raise result  # no fault of the entry
    return Embedded(embeddings, errors, watch.read())


def _checked(vectors_ND: Vector, truncated: Iterable[bool]) -> list[Embedding | Exception]:
    """The rows as embeddings. A model may turn an odd input into NaN, which no collection must ever see."""
    finite_N = np.asarray(np.isfinite(vectors_ND).all(axis=1))
    return [
        Embedding(row_D, cut) if finite else InvalidInput("the model gives no finite vector for it")
        for row_D, finite, cut in zip(vectors_ND, finite_N, truncated, strict=True)
    ]


def _canary_image() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (255, 200, 0)).save(buffer, "PNG")
    return buffer.getvalue()
