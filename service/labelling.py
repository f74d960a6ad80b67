"""Classification by trained probes, in batches formed across callers.

Legend: C = classes of a probe, N = images.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..clip.evaluation.ranking import ranked
from ..clip.recipe import written
from ..errors import InvalidInput
from .batching import Batcher
from .capabilities import Capabilities, Labeller
from .checks import check_count, check_image
from .decoding import Decoders
from .embedder import Embedder
from .errors import InvalidField
from .gathering import gathered
from .metrics import Metrics
from .records import Classified, Vector
from .settings import Limits, Settings
from .stopwatch import Stopwatch


class Labelling:
    """A batcher for each probe, beside those of the embedder and on its devices."""

    def __init__(
        self,
        embedder: Embedder,
        capabilities: Capabilities,
        settings: Settings,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._settings, self._limits, self._metrics = settings, limits, metrics
        self._labellers = {name: ones[0] for name, ones in capabilities.labellers.items()}
        self._decoders: dict[str, Decoders] = {}
        self._batchers: dict[str, Batcher[bytes, Any, Vector]] = {
            name: embedder.join(
                f"probe:{name}",
                partial(self._prepare, name),
                [partial(_run, one) for one in ones],
                workers=settings.workers,
            )
            for name, ones in capabilities.labellers.items()
        }

    def start(self) -> None:
        """Begin to decode; each probe has a process for it, because each has its own size of pictures."""
        settings = self._settings
        if settings.decoders:
            self._decoders = {
                name: Decoders(
                    1,
                    written(one.preprocess),
                    seconds=settings.decoder_seconds,
                    memory=settings.decoder_mb << 20,
                )
                for name, one in self._labellers.items()
            }

    async def close(self) -> None:
        """End the decoding."""
        for decoders in self._decoders.values():
            await asyncio.to_thread(decoders.close)

    async def classify(self, images: Sequence[bytes], probe: str, top: int) -> Classified:
        """The `top` classes of each image (all if 0), best first, or its error."""
        watch = Stopwatch()
        check_count(len(images), "images", self._limits)
        if probe not in self._batchers:
            known = ", ".join(self._batchers) or "none"
            raise InvalidField("probe", f"{probe!r:.100} is not served; this server has {known}")
        note = partial(self._metrics.entry, f"probe:{probe}")
        found, errors = await gathered(self._batchers[probe], images, watch, note)
        classes = self._labellers[probe].classes
        told = [None if logits_C is None else ranked(classes, logits_C, top=top) for logits_C in found]
        return Classified(told, errors, timings=watch.read())

    def _prepare(self, name: str, image: bytes) -> Any:
        check_image(image, self._limits)
        decoders = self._decoders.get(name)
        return decoders.prepare(image) if decoders else self._labellers[name].prepare_image(image)


def _run(labeller: Labeller, entries: list[Any]) -> list[Vector | Exception]:
    """The logits (C,) of each image."""
    return [
        logits_C if np.isfinite(logits_C).all() else InvalidInput("the probe gives no finite number for it")
        for logits_C in labeller.logits_of(entries)
    ]
