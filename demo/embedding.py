"""Unit vectors of the gallery's pictures, under a progress bar. N = pictures, D = width of the vectors."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .progress import track

BATCH = 64

Vectors = npt.NDArray[np.float32]


class Embeds(Protocol):
    """What the demo asks of a model; `polylens.clip.Encoder` is one."""

    def encode_images(self, images: Sequence[Path], /) -> Vectors: ...
    def encode_texts(self, texts: Sequence[str], /) -> Vectors: ...


def embed_pictures(encoder: Embeds, files: Sequence[Path]) -> Iterator[Vectors]:
    """The unit vectors of the pictures, in order, up to BATCH rows at a time."""
    parts = (encoder.encode_images(files[start : start + BATCH]) for start in range(0, len(files), BATCH))
    yield from track(parts, "embedding", total=len(files), step=BATCH)
