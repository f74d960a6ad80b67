"""The stages around the model: batches of fixed composition, the forward pass, rows for the shard.

Which samples share a batch follows from the unit alone, never from the pace of threads: floats depend on it.
Letters of the shapes: B batch, C colours, H and W pixels, L token positions, N rows, D embedding width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..batches import Ids, padded, stacked
from ..encoder import Encoder, Vectors, unit_rows
from .samples import Prepared, Reject, Row
from .settings import Settings

Describe = Callable[[Tensor], list[str]]

WINDOW = 16  # batches whose texts are sorted by length before they form batches of their own
NO_DIRECTION = "the model gives it a vector that is not finite or has no direction"


@dataclass(slots=True)
class Batch:
    """Samples that go through the model together, and those refused among them."""

    rows: list[Row] = field(default_factory=list)
    pixels_BCHW: Tensor | None = None
    ids: list[Ids] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


@dataclass(slots=True)
class Rows:
    """Rows of a shard: what the metadata say, and the vectors (N, D) of pictures, of texts, or of both."""

    rows: list[Row]
    images_ND: Vectors | None
    texts_ND: Vectors | None
    rejects: list[Reject]
    captions: list[str] | None


def batches(prepared: Iterable[Prepared | Reject], settings: Settings, *, pin: bool) -> Iterator[Batch]:
    """Batches of a unit's samples, in order; all but the last are full. `pin` speeds the copy to a GPU."""
    batch, pixels = Batch(), []
    for one in prepared:
        if isinstance(one, Reject):
            batch.rejects.append(one)
            continue
        batch.rows.append(one.row)
        if one.pixels is not None:
            pixels.append(one.pixels)
        if one.ids is not None:
            batch.ids.append(one.ids)
        if len(batch.rows) == settings.batch_size:
            yield _complete(batch, pixels, pin)
            batch, pixels = Batch(), []
    if batch.rows or batch.rejects:
        yield _complete(batch, pixels, pin)


def _complete(batch: Batch, pixels: Sequence[npt.NDArray[np.float32]], pin: bool) -> Batch:
    if pixels:
        # Memory of torch is aligned in the same way every time, and sums of floats may depend on that.
        stack_BCHW = torch.empty((len(pixels), *pixels[0].shape), pin_memory=pin)
        stacked(pixels, stack_BCHW.numpy())
        batch.pixels_BCHW = stack_BCHW
    return batch


def encode(
    encoder: Encoder, incoming: Iterable[Batch], settings: Settings, describe: Describe | None = None
) -> Iterator[Rows]:
    """The rows of a unit, a window of batches at a time; `describe` gives a sentence about each picture."""
    window: list[Batch] = []
    images: list[Tensor] = []
    for batch in incoming:
        window.append(batch)
        if batch.pixels_BCHW is not None:
            # Not waited for: a GPU computes on while the next batch is fetched.
            pixels_BCHW, batch.pixels_BCHW = batch.pixels_BCHW, None
            images.append(encoder.forward_images(pixels_BCHW.to(encoder.device, non_blocking=True)))
            batch.captions = describe(pixels_BCHW) if describe else []
        if len(window) == WINDOW:
            yield _rows(encoder, window, images, settings)
            window, images = [], []
    if window:
        yield _rows(encoder, window, images, settings)


def _rows(encoder: Encoder, window: list[Batch], images: list[Tensor], settings: Settings) -> Rows:
    """The rows of a window, without those whose vectors cannot be used."""
    rows = [row for batch in window for row in batch.rows]
    rejects = [reject for batch in window for reject in batch.rejects]
    usable_N = np.ones(len(rows), bool)
    images_ND = texts_ND = None
    if settings.images:
        images_ND, usable = unit_rows(torch.cat(images or [torch.empty(0, encoder.dim)]))
        usable_N &= usable
    if settings.texts:
        texts_ND, usable = _texts(encoder, [ids for batch in window for ids in batch.ids], settings)
        usable_N &= usable
    rejects += [Reject(row.id, NO_DIRECTION) for row, good in zip(rows, usable_N, strict=True) if not good]
    captions = [caption for batch in window for caption in batch.captions]
    return Rows(
        list(compress(rows, usable_N)),
        None if images_ND is None else images_ND[usable_N],
        None if texts_ND is None else texts_ND[usable_N],
        rejects,
        list(compress(captions, usable_N)) if settings.captions else None,
    )


def _texts(encoder: Encoder, ids: Sequence[Ids], settings: Settings) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """Unit rows of texts in their order. Those of like length share a batch: little of it is padding."""
    vectors_ND = np.empty((len(ids), encoder.dim), np.float32)
    usable_N = np.empty(len(ids), bool)
    by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for start in range(0, len(ids), settings.batch_size):
        chosen = by_length[start : start + settings.batch_size]
        vectors_BD = encoder.forward_texts(torch.from_numpy(padded([ids[i] for i in chosen])))
        vectors_ND[chosen], usable_N[chosen] = unit_rows(vectors_BD)
    return vectors_ND, usable_N
