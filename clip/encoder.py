"""The Encoder: lists of images and texts in, unit vectors out, in the order of the caller.

Letters of the shapes: N items, B batch, F frames, C colours, H and W pixels, L tokens, D embedding width.
"""

import os
from collections.abc import Callable, Iterable, Sequence, Sized
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..errors import InvalidInput, PolylensError
from .batches import Ids, Pixels, ahead, grouped, padded, stacked, tracked
from .dual_encoder import DualEncoder
from .errors import UnusableVector
from .images import ImageSource, open_image
from .recipe import DECODE_ONLY
from .videos import VideoSource, read_frames

Vectors = npt.NDArray[np.float32]
Prepared = TypeVar("Prepared", Pixels, Ids)

# Decoded while one batch runs: enough to fill the next one, and never more than three batches in memory.
BATCHES_AHEAD = 2
SHORTEST = 1e-6  # a vector this short has no direction worth the name


class Encoder:
    """A model with everything around it: safe decoding, batches, threads, normalised rows, a fingerprint.

    `encode_images` and `encode_texts` are for lists. `prepare_*` and `embed_*` are their steps, for callers
    who form their own batches; they may be called from several threads.
    """

    def __init__(self, model: DualEncoder, *, batch_size: int = 32, workers: int | None = None) -> None:
        if batch_size < 1:
            raise InvalidInput(f"batch_size is {batch_size}, expected at least 1")
        self.model = model
        self.name, self.dim, self.logit_scale = model.name, model.dim, model.logit_scale
        self.max_text_tokens = model.max_text_tokens
        self.batch_size = batch_size
        self.workers = workers or min(16, os.cpu_count() or 1)

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, dim={self.dim})"

    @cached_property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that name model, head, preprocessing and tokenizer; see fingerprint.py."""
        return self.model.fingerprint

    @property
    def recipe(self) -> str:
        """How a process without this model makes pictures ready for `embed_pixels`; see recipe.py.

        Of a recipe that only decodes, `prepare_image` does the rest.
        """
        return getattr(self.model, "recipe", DECODE_ONLY)

    @property
    def device(self) -> torch.device:
        """Where pixels go first; that of a model on several devices moves them itself."""
        return getattr(self.model, "device", torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which the model computes."""
        return getattr(self.model, "dtype", torch.float32)

    def encode_images(self, images: Iterable[ImageSource], *, progress: bool = False) -> Vectors:
        """(N, D) float32, unit rows; the first bad image ends it with an error that names its position."""
        vectors_ND, errors = self._encode_images(images, progress, stop=True)
        return vectors_ND

    def try_encode_images(
        self, images: Iterable[ImageSource], *, progress: bool = False
    ) -> tuple[Vectors, dict[int, PolylensError]]:
        """Unit rows of the images that could be encoded, in order, and for each other position its error."""
        return self._encode_images(images, progress, stop=False)

    def encode_videos(
        self, videos: Iterable[VideoSource], *, frames: int = 8, progress: bool = False
    ) -> Vectors:
        """(N, D) float32, unit rows: the mean direction of `frames` evenly spaced frames' unit vectors.

        The first bad video ends it with an error that names its position.
        """
        if isinstance(videos, str | bytes | Path):
            raise InvalidInput("expected a list of videos, got one video")
        total = len(videos) if isinstance(videos, Sized) else None
        together = max(1, self.batch_size // frames)
        prepared = ahead(
            lambda numbered: self._prepare_video(*numbered, frames),
            enumerate(videos),
            workers=self.workers,
            most=2 * together,
        )
        rows = [np.empty((0, self.dim), np.float32)]
        with closing(prepared):
            for group in grouped(tracked(prepared, total, "videos", show=progress), together):
                frames_ND = self.embed_pixels([pixels for video in group for pixels in video])
                rows.append(mean_directions(frames_ND.reshape(len(group), frames, self.dim)))
        return np.concatenate(rows)

    def encode_texts(self, texts: Sequence[str], *, progress: bool = False) -> Vectors:
        """(N, D) float32, unit rows; a text of more than `max_text_tokens` tokens loses its end."""
        if isinstance(texts, str):
            raise InvalidInput("expected a list of texts, got one text")
        ids = [_at(i, self.prepare_text, text) for i, text in enumerate(texts)]
        vectors_ND = np.empty((len(ids), self.dim), np.float32)
        # Texts of like length share a batch, so that little of it is padding.
        by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        total = -(-len(ids) // self.batch_size)
        for rows in tracked(grouped(by_length, self.batch_size), total, "texts", show=progress):
            vectors_ND[rows] = self.embed_ids([ids[i] for i in rows])
        return vectors_ND

    def prepare_image(self, image: ImageSource) -> Pixels:
        """pixels_CHW float32 of one image, or `InvalidImage`."""
        return self.model.prepare_image(open_image(image, draft=getattr(self.model, "draft_size", None)))

    def _prepare_video(self, position: int, video: VideoSource, frames: int) -> list[Pixels]:
        try:
            return [self.prepare_image(frame) for frame in read_frames(video, frames)]
        except InvalidInput as error:
            raise type(error)(f"video {position}: {error}") from error

    def prepare_text(self, text: str) -> Ids:
        """ids_L int64 of one text; `InvalidInput` if it is empty."""
        if not isinstance(text, str):
            raise InvalidInput(f"expected text, got {type(text).__name__}")
        if not text.strip():
            raise InvalidInput("the text is empty")
        return self.model.prepare_text(text)

    def text_truncated(self, text: str) -> bool:
        """Whether the text has more than `max_text_tokens` tokens, so that its end is not seen."""
        return self.model.text_truncated(text)

    def embed_pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """(N, D) float32, unit rows, of prepared images."""
        return _all_usable(*self._embed(self.forward_images, stacked, pixels))

    def embed_ids(self, ids: Sequence[Ids]) -> Vectors:
        """(N, D) float32, unit rows, of prepared texts."""
        return _all_usable(*self._embed(self.forward_texts, padded, ids))

    def _encode_images(
        self, images: Iterable[ImageSource], progress: bool, *, stop: bool
    ) -> tuple[Vectors, dict[int, PolylensError]]:
        if isinstance(images, str | bytes | Path | Image.Image):
            raise InvalidInput("expected a list of images, got one image")
        most = BATCHES_AHEAD * self.batch_size
        prepared = ahead(self._try_prepare, images, workers=self.workers, most=most)
        total = len(images) if isinstance(images, Sized) else None
        shown = tracked(prepared, total, "images", show=progress)
        rows = [np.empty((0, self.dim), np.float32)]
        errors: dict[int, PolylensError] = {}
        with closing(prepared):
            for group in grouped(enumerate(shown), self.batch_size):
                bad = {i: pixels for i, pixels in group if isinstance(pixels, InvalidInput)}
                good = {i: pixels for i, pixels in group if not isinstance(pixels, InvalidInput)}
                errors |= {i: type(error)(f"image {i}: {error}") for i, error in bad.items()}
                vectors_BD, usable_B = self._embed(self.forward_images, stacked, list(good.values()))
                errors |= {i: _unusable(f"image {i}") for i in np.array(list(good))[~usable_B].tolist()}
                if stop and errors:
                    first = min(errors)
                    raise errors[first] from bad.get(first)
                rows.append(vectors_BD[usable_B])
        return np.concatenate(rows), errors

    def _try_prepare(self, image: ImageSource) -> Pixels | InvalidInput:
        try:
            return self.prepare_image(image)
        except InvalidInput as error:
            return error

    @torch.inference_mode()
    def forward_images(self, pixels_BCHW: Tensor) -> Tensor:
        """vectors_BD of one batch, on the model's device, not normalised; see `unit_rows`."""
        return self.model.embed_images(pixels_BCHW)

    @torch.inference_mode()
    def forward_texts(self, ids_BL: Tensor) -> Tensor:
        """The same of texts."""
        return self.model.embed_texts(ids_BL)

    def _embed(
        self,
        forward: Callable[[Tensor], Tensor],
        collate: Callable[[Sequence[Prepared]], Prepared],
        items: Sequence[Prepared],
    ) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """(N, D) float32 rows of length 1, and which of them are usable at all, (N,)."""
        parts = [torch.empty(0, self.dim)]
        for group in grouped(items, self.batch_size):
            try:
                parts.append(forward(torch.from_numpy(collate(group))).float().cpu())
            except torch.OutOfMemoryError as error:  # whoever has batches can make them smaller
                raise MemoryError(f"the device has no memory for a batch of {len(group)}") from error
        return unit_rows(torch.cat(parts))


@torch.inference_mode()
def unit_rows(vectors_BD: Tensor) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """(B, D) float32 rows of length 1, and which of them are usable at all, (B,)."""
    vectors_BD = vectors_BD.float().cpu()
    lengths_B = vectors_BD.norm(dim=1)
    usable_B = lengths_B.isfinite() & (lengths_B > SHORTEST)
    return (vectors_BD / lengths_B[:, None]).numpy(), usable_B.numpy()


def mean_directions(frames_BFD: Vectors) -> Vectors:
    """(B, D) float32, unit rows: the normalised mean of each item's F unit rows."""
    vectors_BD, usable_B = unit_rows(torch.from_numpy(frames_BFD).mean(dim=1))
    return _all_usable(vectors_BD, usable_B)


def _all_usable(vectors_ND: Vectors, usable_N: npt.NDArray[np.bool_]) -> Vectors:
    """The vectors, if all of them can be used."""
    if not usable_N.all():
        raise _unusable(f"item {usable_N.argmin()}")
    return vectors_ND


def _unusable(item: str) -> UnusableVector:
    return UnusableVector(f"the model gave {item} a vector that is not finite or has no direction")


def _at(position: int, prepare: Callable[[str], Ids], text: str) -> Ids:
    try:
        return prepare(text)
    except InvalidInput as error:
        raise type(error)(f"text {position}: {error}") from error
