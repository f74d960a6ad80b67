"""Batches.

Every row once an epoch, the same for the same step, shared out among processes without overlap.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from polylens.backbone.steps import prefetch
from polylens.clip.tokenizer import Tokenizer
from polylens.clip.training.augment import edges, hue_rotation, style_augment
from polylens.clip.training.batches import BatchMaker
from polylens.clip.training.config import TrainConfig
from polylens.clip.training.data import load_pairs


def maker(files: Path, rank: int = 0, world: int = 1, **changes: object) -> BatchMaker:
    settings: dict[str, Any] = {"batch_size": 6, **changes}
    config = dataclasses.replace(TrainConfig.from_toml(files / "train.toml"), **settings)
    pairs = load_pairs(config.pairs, config.texts)
    return BatchMaker(config, pairs, Tokenizer.from_pretrained(files), 28, rank, world)


def test_an_epoch_shows_every_row_once(training_files: Path) -> None:
    rows = np.concatenate([maker(training_files).rows_of(step) for step in range(4)])  # 24 places, 8 rows
    for epoch in rows.reshape(3, 8):
        assert sorted(epoch) == list(range(8))
    assert not np.array_equal(rows[:8], rows[8:16])


def test_a_step_is_the_same_whoever_asks_and_whenever(training_files: Path) -> None:
    late = maker(training_files, augment=True).make(3)[0]
    (_, _, _, through) = list(prefetch(maker(training_files, augment=True).make, 0, 4))
    torch.testing.assert_close(through[0].pixels_BCHW, late.pixels_BCHW, rtol=0, atol=0)
    assert torch.equal(through[0].ids_ML, late.ids_ML)
    assert not torch.equal(
        late.pixels_BCHW, maker(training_files, augment=True, seed=9).make(3)[0].pixels_BCHW
    )


def test_processes_share_a_step_out(training_files: Path) -> None:
    whole = maker(training_files).make(1)[0].image_group_B
    parts = [maker(training_files, rank, 2).make(1)[0].image_group_B for rank in (0, 1)]
    assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())


def test_micro_batches_and_fewer_texts(training_files: Path) -> None:
    batches = maker(training_files, accumulate=2, text_batch_size=4).make(0)
    assert [len(b.pixels_BCHW) for b in batches] == [3, 3]
    assert [len(b.ids_ML) for b in batches] == [2, 2]
    for batch in batches:
        assert batch.text_group_M.tolist() == batch.image_group_B.tolist()[:2]


def test_the_first_steps_may_be_small(training_files: Path) -> None:
    subject = maker(training_files, small_size=14, small_steps=1)
    assert [subject.make(step)[0].pixels_BCHW.shape[-1] for step in (0, 1)] == [14, 28]


def test_augmentation_keeps_range_shape_and_generator() -> None:
    pixels = torch.rand(16, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    first = style_augment(pixels, torch.Generator().manual_seed(1))
    again = style_augment(pixels, torch.Generator().manual_seed(1))
    other = style_augment(pixels, torch.Generator().manual_seed(2))
    assert first.shape == pixels.shape and first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_grey_has_no_hue_and_flat_colour_no_edge() -> None:
    grey = torch.full((1, 3, 1, 1), 0.4)
    turned = torch.einsum("bij,bjhw->bihw", hue_rotation(torch.tensor([1.0])), grey)
    torch.testing.assert_close(turned, grey)
    assert edges(torch.full((1, 3, 4, 4), 0.7)).max() == 0
    step = torch.zeros(1, 3, 4, 4)
    step[..., 2:] = 1
    assert edges(step)[0, 0, 0].tolist() == [0, 1, 0, 0]
