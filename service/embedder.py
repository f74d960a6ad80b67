"""Texts and pictures to vectors, in batches formed across callers."""

import asyncio
import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..errors import InvalidInput
from .batching import Batcher, Run
from .cache import TextCache
from .checks import check_image, check_text
from .decoding import Decoders
from .gathering import gathered
from .metrics import Metrics
from .records import Embedded, Embedding, Encoder, Vector
from .settings import Limits, Settings
from .stopwatch import Stopwatch
from .threads import Device

Raw = TypeVar("Raw")
Ready = TypeVar("Ready")
Out = TypeVar("Out")
WARM_TEXT = "warm"


class Embedder:
    """One batcher for texts and one for images, which take turns on the devices: one for each encoder.

    The encoders are the same model on different devices. Other kinds of work may `join`.
    """

    def __init__(
        self, encoders: Sequence[Encoder], settings: Settings, limits: Limits, metrics: Metrics
    ) -> None:
        self._encoder, self._limits, self._settings, self._metrics = encoders[0], limits, settings, metrics
        self._devices = {Device(): encoder for encoder in encoders}
        self._decoders: Decoders | None = None
        self.cache = TextCache(settings.cache_mb << 20, self._encoder.fingerprint)
        self._batchers: dict[str, Batcher[Any, Any, Any]] = {}
        self._texts: Batcher[str, tuple[Any, bool], Embedding] = self.join(
            "text",
            self._prepare_text,
            [partial(_run_texts, encoder) for encoder in encoders],
            size=lambda entry: len(entry[0]),
            budget=settings.max_batch_tokens,
        )
        self._images: Batcher[bytes, Any, Embedding] = self.join(
            "image",
            self.prepare_image,
            [partial(_run_images, encoder) for encoder in encoders],
            workers=settings.workers,
            size=lambda pixels: int(np.prod(pixels.shape[1:])),
            budget=settings.max_batch_pixels,
        )
        self._tell(metrics)

    def join(
        self,
        input: str,
        prepare: Callable[[Raw], Ready],
        runs: Sequence[Run[Ready, Out]],
        **options: Any,
    ) -> Batcher[Raw, Ready, Out]:
        """A batcher for another kind of input; `runs` has what runs a batch of it on each of the devices.

        It begins and ends with the embedder, and shows in the metrics as `input`.
        """
        settings = self._settings
        batcher = Batcher(
            prepare,
            dict(zip(self._devices, runs, strict=True)),
            max_size=settings.max_batch,
            max_wait=settings.max_wait_ms / 1000,
            max_pending=settings.max_queue,
            max_delay=settings.max_delay_ms / 1000,
            note=partial(self._metrics.batch, input),
            **options,
        )
        self._batchers[input] = batcher
        return batcher

    def start(self) -> None:
        """Begin to accept work."""
        recipe = getattr(self._encoder, "recipe", None)
        if self._settings.decoders and recipe is not None:
            settings = self._settings
            memory = settings.decoder_mb << 20
            self._decoders = Decoders(
                settings.decoders, recipe, seconds=settings.decoder_seconds, memory=memory
            )
        for batcher in self._batchers.values():
            batcher.start()

    async def close(self) -> None:
        """Finish the batch that runs, refuse what waits."""
        if self._decoders is not None:
            await asyncio.to_thread(self._decoders.close)
        for batcher in self._batchers.values():
            await batcher.close()
        for device in self._devices:
            await device.close()

    async def warm_up(self) -> None:
        """Runs the smallest and the largest batch on every device: first times are slow."""
        pixels = await asyncio.to_thread(self.prepare_image, _canary_image())
        text = self._prepare_text(WARM_TEXT)
        for device, encoder in self._devices.items():
            async with device.turn:
                for size in sorted({1, self._settings.max_batch}):
                    await device.batch(partial(_run_texts, encoder), [text] * size)
                    await device.batch(partial(_run_images, encoder), [pixels] * size)

    async def canary(self) -> None:
        """Returns when a text and an image have become vectors, by way of the queues that requests take."""
        await asyncio.gather(
            self._texts.submit("canary", canary=True), self._images.submit(_canary_image(), canary=True)
        )

    async def texts(self, texts: Sequence[str], watch: Stopwatch, *, bulk: bool = False) -> Embedded:
        """An embedding or an error for each text; `bulk` lets others go first."""
        embeddings = [self.cache.get(text) for text in texts]
        missing = [i for i, one in enumerate(embeddings) if one is None]
        note = partial(self._metrics.entry, "text")
        fresh, errors = await gathered(self._texts, [texts[i] for i in missing], watch, note, bulk)
        for i, one in zip(missing, fresh, strict=True):
            embeddings[i] = one
            if one is not None:
                self.cache.put(texts[i], one)
        return Embedded(embeddings, {missing[at]: error for at, error in errors.items()}, watch.read())

    async def images(self, images: Sequence[bytes], watch: Stopwatch, *, bulk: bool = False) -> Embedded:
        """An embedding or an error for each encoded picture; `bulk` lets others go first."""
        note = partial(self._metrics.entry, "image")
        found, errors = await gathered(self._images, images, watch, note, bulk)
        return Embedded(found, errors, watch.read())

    def _prepare_text(self, text: str) -> tuple[Any, bool]:
        check_text(text, self._limits)
        ids = self._encoder.prepare_text(text)
        full = len(ids) >= self._encoder.max_text_tokens  # else nothing was cut off: no need to look again
        return ids, full and self._encoder.text_truncated(text)

    def prepare_image(self, image: bytes) -> Any:
        """What a batch needs of an encoded picture; runs in a thread, and decodes in a process of its own."""
        check_image(image, self._limits)
        if self._decoders is None:
            return self._encoder.prepare_image(image)
        made = self._decoders.prepare(image)
        return self._encoder.prepare_image(made) if isinstance(made, Image.Image) else made

    def _tell(self, metrics: Metrics) -> None:
        """Adds what the parts know of themselves to the metrics."""
        batchers = self._batchers  # others may join
        metrics.add(
            "polylens_queue_length",
            "Entries that wait for a device.",
            ["input", "level"],
            lambda: {
                (input, level): count
                for input, batcher in batchers.items()
                for level, count in zip(("interactive", "bulk"), batcher.waiting, strict=True)
            },
        )
        metrics.add(
            "polylens_entries_inside",
            "Entries being prepared, waiting or running.",
            ["input"],
            lambda: {(input,): batcher.admission.inside for input, batcher in batchers.items()},
        )
        metrics.add(
            "polylens_batch_worker_restarts_total",
            "Workers of batchers that ended by a fault of their own.",
            ["input"],
            lambda: {(input,): batcher.restarts for input, batcher in batchers.items()},
        )
        cache = self.cache
        for name, read in {
            "hits_total": lambda: cache.hits,
            "misses_total": lambda: cache.misses,
            "entries": lambda: len(cache),
            "bytes": lambda: cache.bytes,
        }.items():
            _add_one(metrics, f"polylens_text_cache_{name}", "The cache of texts.", read)
        restarts = lambda: self._decoders.restarts if self._decoders else 0  # noqa: E731
        _add_one(metrics, "polylens_decoder_restarts_total", "Decoding processes replaced.", restarts)


def _add_one(metrics: Metrics, name: str, help: str, read: Callable[[], float]) -> None:
    metrics.add(name, help, (), lambda: {(): read()})


def _run_texts(encoder: Encoder, entries: list[tuple[Any, bool]]) -> list[Embedding | Exception]:
    vectors_ND = encoder.embed_ids([ids for ids, _ in entries])
    return _checked(vectors_ND, [truncated for _, truncated in entries])


def _run_images(encoder: Encoder, entries: list[Any]) -> list[Embedding | Exception]:
    return _checked(encoder.embed_pixels(entries), [False] * len(entries))


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
