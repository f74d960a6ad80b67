"""Batches that depend on nothing but (seed, step, process).

Resuming at a step gives exactly the batch it would have had.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...backbone.pixels import IMAGENET_MEAN, IMAGENET_STD
from ..images import open_image
from ..tokenizer import Tokenizer
from .augment import style_augment
from .config import TrainConfig
from .data import Pairs

MEAN_1C11 = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
STD_1C11 = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
AHEAD = 2  # batches prepared while the model works


@dataclass(frozen=True)
class Batch:
    """pixels (B, 3, S, S) float32 normalised, ids (M, L) int64 padded with 0, the group index of each row."""

    pixels_BCHW: Tensor
    ids_ML: Tensor
    image_group_B: Tensor
    text_group_M: Tensor


class BatchMaker:
    """Draws, decodes, augments and tokenises one process's share of every step."""

    def __init__(
        self, config: TrainConfig, pairs: Pairs, tokenizer: Tokenizer, size: int, rank: int, world: int
    ) -> None:
        self.config, self.pairs, self.tokenizer, self.size = config, pairs, tokenizer, size
        self.rank, self.world = rank, world

    def make(self, step: int) -> list[Batch]:
        """The micro-batches of `step` for this process."""
        config = self.config
        rows = self.rows_of(step)[self.rank :: self.world]
        random = np.random.default_rng((config.seed, step, self.rank))
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        languages = frozenset(config.start_languages) if step < config.start_steps else None
        size = config.small_size if step < config.small_steps else self.size
        return [
            self._batch(part, size, random, generator, languages)
            for part in np.array_split(rows, config.accumulate)
        ]

    def rows_of(self, step: int) -> np.ndarray:
        """The rows of a step, over all processes: epochs are permutations, laid end to end."""
        count, size = len(self.pairs), self.config.batch_size
        places = np.arange(step * size, (step + 1) * size)
        rows = np.empty(size, dtype=np.int64)
        for epoch in np.unique(places // count):
            inside = places // count == epoch
            order = np.random.default_rng((self.config.seed, 1, epoch)).permutation(count)
            rows[inside] = order[places[inside] % count]
        return rows

    def _batch(
        self,
        rows: np.ndarray,
        size: int,
        random: np.random.Generator,
        generator: torch.Generator,
        languages: frozenset[str] | None,
    ) -> Batch:
        groups = self.pairs.groups_N[rows]
        count = (self.config.text_batch_size or self.config.batch_size) // (
            self.config.accumulate * self.world
        )
        text_groups = np.resize(groups, count)  # the first rows' groups, or all of them over again
        texts = [self.pairs.texts.draw(g, random, self.config.name_share, languages) for g in text_groups]
        ids = self.tokenizer(texts, max_length=self.config.max_text_tokens, pad_to_max=False)
        pixels = torch.stack([decode(self.pairs.read(int(row)), size, random) for row in rows])
        if self.config.augment:
            pixels = style_augment(pixels, generator)
        pixels = (pixels - MEAN_1C11) / STD_1C11
        return Batch(pixels, torch.as_tensor(ids), torch.as_tensor(groups), torch.as_tensor(text_groups))


def decode(encoded: bytes, size: int, random: np.random.Generator) -> Tensor:
    """(3, size, size) float32 in [0, 1]; transparent parts show white, or now and then some light colour."""
    image = open_image(encoded).convert("RGBA")
    shade = (255, 255, 255) if random.random() < 0.7 else tuple(int(v) for v in random.integers(200, 256, 3))
    canvas = Image.new("RGBA", image.size, (*shade, 255))
    picture = Image.alpha_composite(canvas, image).convert("RGB")
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)


def prefetch(maker: BatchMaker, start: int, stop: int) -> Iterator[list[Batch]]:
    """The batches of the steps `start` to `stop`, made in one thread a little ahead of their use."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        pending: list[Future[list[Batch]]] = [
            pool.submit(maker.make, s) for s in range(start, min(start + AHEAD, stop))
        ]
        for step in range(start, stop):
            batch = pending.pop(0).result()
            if step + AHEAD < stop:
                pending.append(pool.submit(maker.make, step + AHEAD))
            yield batch
