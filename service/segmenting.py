"""Class maps of images by a segmentation model, image by image, on the devices of the encoders."""

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Any

from PIL import Image

from ..clip.recipe import DECODE_ONLY, prepared
from .batching import Batcher
from .capabilities import Capabilities, Segmenter
from .checks import check_count, check_image
from .decoding import Decoders
from .embedder import Embedder
from .gathering import gathered
from .metrics import Metrics
from .records import ClassShare, Segmentation, Segmented
from .settings import Limits, Settings
from .stopwatch import Stopwatch

DECODERS = 2  # processes: one picture is decoded while another one waits for the device


class Segmenting:
    """One batcher for images to be segmented, beside those of the embedder and on its devices."""

    def __init__(
        self,
        embedder: Embedder,
        capabilities: Capabilities,
        settings: Settings,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._capabilities, self._settings = capabilities, settings
        self._limits, self._metrics = limits, metrics
        self._decoders: Decoders | None = None
        if not capabilities.segmenters:
            return
        self._images: Batcher[bytes, Any, Segmentation] = embedder.join(
            "segment",
            partial(self._prepare, capabilities.segmenters[0]),
            [partial(_run, segmenter) for segmenter in capabilities.segmenters],
            workers=settings.workers,
            budget=1,  # one image at a time: they differ in size, and texts in between should not wait long
        )

    def start(self) -> None:
        """Begin the processes that decode; the encoder's own give pixels of its own kind."""
        settings = self._settings
        if settings.decoders and self._capabilities.segmenters:
            count, memory = min(DECODERS, settings.decoders), settings.decoder_mb << 20
            self._decoders = Decoders(count, DECODE_ONLY, seconds=settings.decoder_seconds, memory=memory)

    def close(self) -> None:
        """End them."""
        if self._decoders is not None:
            self._decoders.close()

    async def segment(self, images: Sequence[bytes]) -> Segmented:
        """The classes of each image, in order, or its error."""
        watch, segmenter = Stopwatch(), self._capabilities.require_segmenter()
        check_count(len(images), "images", self._limits)
        note = partial(self._metrics.entry, "segment")
        found, errors = await gathered(self._images, images, watch, note, True)
        return Segmented(found, errors, segmenter.fingerprint, watch.read())

    def _prepare(self, segmenter: Segmenter, image: bytes) -> Any:
        check_image(image, self._limits)
        decode = partial(prepared, DECODE_ONLY) if self._decoders is None else self._decoders.prepare
        picture = decode(image)
        return segmenter.prepare(picture if isinstance(picture, Image.Image) else Image.fromarray(picture))


def _run(segmenter: Segmenter, entries: list[Any]) -> list[Segmentation | Exception]:
    return [_told(segmenter, *segmenter.segment(entry)) for entry in entries]


def _told(segmenter: Segmenter, map: Image.Image, shares: dict[str, float]) -> Segmentation:
    buffer, names = BytesIO(), list(segmenter.names)
    map.save(buffer, "PNG")
    told = []
    for name, share in shares.items():
        index = names.index(name)
        red, green, blue = segmenter.palette[index]
        told.append(ClassShare(index, name, share, red << 16 | green << 8 | blue))
    return Segmentation(buffer.getvalue(), map.width, map.height, told)
