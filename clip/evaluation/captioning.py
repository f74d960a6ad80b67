"""Captions of a data set's images, compared with those that people wrote."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from ...backbone.world import World
from ...errors import InvalidInput
from ..batches import tracked
from ..captioning import Wording, caption_images
from ..encoder import Encoder
from ..images import ImageSource
from .caption_metrics import caption_metrics
from .encode import ALONE, gathered_texts, size_of
from .image_text import Captioned


def caption_items(
    encoder: Encoder,
    data: Captioned,
    *,
    wording: Wording | None = None,
    world: World = ALONE,
    limit: int | None = None,
    progress: bool = False,
) -> tuple[list[str], list[list[str]]]:
    """A sentence for each image (the first `limit`), and people's; the same in every process."""
    references: list[Any] = []

    def own() -> Iterator[ImageSource]:
        for image, captions in islice(data.items.rows(world.rank, world.size), limit):
            references.append(captions)
            if image is not None:
                yield image

    total = -(-min(size_of(data.items), limit or size_of(data.items)) // world.size) or None
    shown = tracked(own(), total, "images", show=progress and world.leads)
    said = []
    for number, sentence in enumerate(caption_images(encoder, shown, wording)):
        if isinstance(sentence, InvalidInput):
            raise type(sentence)(f"image {number}: {sentence}") from sentence
        said.append(sentence)
    return gathered_texts(said, len(references), world), references


def evaluate_captioning(
    encoder: Encoder,
    data: Captioned,
    *,
    wording: Wording | None = None,
    world: World = ALONE,
    limit: int | None = None,
    progress: bool = False,
    java: bool | None = None,
) -> tuple[dict[str, float], dict[str, str]]:
    """pycocoevalcap's metrics, and why some are missing; see `caption_metrics`."""
    said, references = caption_items(
        encoder, data, wording=wording, world=world, limit=limit, progress=progress
    )
    return caption_metrics(said, references, java=java)
