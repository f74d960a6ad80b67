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
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Batch:
    """pixels (B, 3, S, S) float32 normalised, ids (M, L) int64 padded with 0, the group index of each row.

    Where the image tower is locked there are no pixels, (0, 3, S, S).
    """

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
        pixels = torch.empty(0, 3, size, size)
        if not self.config.lock_image:
            encoded = [self.pairs.read(int(row)) for row in rows]
            pixels = torch.stack([decode(image, size, light_shade(random)) for image in encoded])
            if self.config.augment:
                pixels = style_augment(pixels, generator)
        numbers = map(torch.as_tensor, (ids, groups, text_groups))
        return Batch(normalised(pixels), *numbers)


def light_shade(random: np.random.Generator) -> tuple[int, int, int]:
    """White, or now and then some light colour."""
    if random.random() < 0.7:
        return WHITE
    red, green, blue = (int(v) for v in random.integers(200, 256, 3))
    return red, green, blue


def normalised(pixels_BCHW: Tensor) -> Tensor:
    """Pixels in [0, 1] as the tower takes them."""
    return (pixels_BCHW - MEAN_1C11) / STD_1C11


def decode(encoded: bytes, size: int, shade: tuple[int, int, int] = WHITE) -> Tensor:
    """(3, size, size) float32 in [0, 1]; transparent parts show the shade."""
    image = open_image(encoded).convert("RGBA")
    canvas = Image.new("RGBA", image.size, (*shade, 255))
    picture = Image.alpha_composite(canvas, image).convert("RGB")
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)
