"""Retrieval between the images of a data set and their captions, both ways.

Legend: N = images, T = captions of all images, D = width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...backbone.world import World
from ...errors import InvalidInput
from ..encoder import Vectors
from .encode import ALONE, Embeds, encode_items, encode_texts
from .items import Items
from .ranks import pair_ranks

KS = (1, 5, 10)


@dataclass(frozen=True)
class Captioned:
    """Images and the captions of each, one or more (the targets of the items)."""

    items: Items


def evaluate_retrieval(
    encoder: Embeds,
    data: Captioned,
    *,
    ks: Sequence[int] = KS,
    world: World = ALONE,
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """clip_benchmark's metrics in [0, 1]: {image,text}_retrieval_recall@k."""
    images_ND, captions = encode_items(encoder, data.items, world=world, limit=limit, progress=progress)
    if not captions or not all(captions):
        raise InvalidInput("expected images with one caption or more each")
    texts = [text for own in captions for text in own]
    texts_TD = encode_texts(encoder, texts, world=world, progress=progress)
    image_of = np.repeat(np.arange(len(captions)), [len(own) for own in captions])
    return two_way_recall(images_ND, texts_TD, image_of, ks)


def two_way_recall(
    images_ND: Vectors,
    texts_TD: Vectors,
    image_of: np.ndarray[tuple[int], np.dtype[np.int64]],
    ks: Sequence[int],
) -> dict[str, float]:
    """The share, in [0, 1], of texts whose image is among the first k images, and of images with one of
    their texts among the first k texts."""
    pairs_P2 = np.stack([image_of, np.arange(len(texts_TD))], axis=1)
    of_image_N, of_text_T = pair_ranks(images_ND, texts_TD, pairs_P2)
    found = {}
    for k in ks:
        if k < 1:
            raise InvalidInput(f"k is {k}, expected at least 1")
        found[f"image_retrieval_recall@{k}"] = float((of_text_T < k).mean())
        found[f"text_retrieval_recall@{k}"] = float((of_image_N < k).mean())
    return found
