"""Batches that depend on nothing but (seed, step, process).

Resuming at a step gives exactly the batch it would have had.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...backbone.pixels import IMAGENET_MEAN, IMAGENET_STD
from ...backbone.steps import rows_of_step
from ..images import open_image
from ..tokenizer import Tokenizer
from .augment import style_augment
from .config import TrainConfig
from .data import Pairs

MEAN_1C11 = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
STD_1C11 = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)


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
        """The rows of a step, over all processes."""
        return rows_of_step(step, self.config.batch_size, len(self.pairs), self.config.seed)

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
        # Texts beyond the pictures' own are of other groups: negatives, and work for the proxies.
        others = random.integers(len(self.pairs.group_names), size=max(0, count - len(groups)))
        text_groups = np.concatenate([groups[:count], others])
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
