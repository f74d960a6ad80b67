"""Neighbours and logistic regression against naive twins, on stored features."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from polylens.backbone.probe import knn as knn_module
from polylens.backbone.probe import logistic as logistic_module
from polylens.backbone.probe.features import Features, shard_path
from polylens.backbone.probe.knn import knn
from polylens.backbone.probe.logistic import best_logistic, blocks_of, counts, drawn, few_shot, logistic
from polylens.errors import InvalidInput

CPU = torch.device("cpu")
NAMES = ("a", "b", "c")


def stored(folder: Path, count: int, seed: int, spread: float = 1.5) -> Features:
    """Three clouds of points in 6 dimensions, in two "layers", the first of which is noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    centres = np.random.default_rng(99).normal(size=(3, 6)) * 2
    rows = np.stack(
        [random.normal(size=(count, 6)), centres[labels] + spread * random.normal(size=(count, 6))], 1
    )
    path = shard_path(folder, 0, 0)
    path.parent.mkdir(parents=True)
    np.save(path, rows.astype(np.float16))
    return Features(folder, (2, 6), (1, 2), count, 1, labels, {})


@pytest.fixture
def train(tmp_path: Path) -> Features:
    return stored(tmp_path / "train", 150, 0)


@pytest.fixture
def held(tmp_path: Path) -> Features:
    return stored(tmp_path / "held", 70, 1)


def test_neighbours_vote_as_counted_one_by_one(
    train: Features, held: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knn_module, "BLOCK", 37)
    right = 0
    known = F.normalize(train.rows(np.arange(150))[:, 1], dim=1).numpy()
    for row, label in enumerate(held.labels_N):
        query = F.normalize(held.rows(np.array([row]))[0, 1], dim=0).numpy()
        cosines = known @ query
        votes = np.zeros(3)
        for neighbour in np.argsort(-cosines)[:10]:
            votes[train.labels_N[neighbour]] += np.exp(cosines[neighbour] / 0.07)
        right += int(votes.argmax() == label)
    assert knn(train, held, NAMES, 1, 10, CPU).top1 == pytest.approx(right / 70)
    assert knn(train, held, NAMES, 0, 10, CPU).top1 < right / 70 - 0.1  # the layer of noise
    with pytest.raises(InvalidInput, match="k is 151, expected 1 to the 150"):
        knn(train, held, NAMES, 1, 151, CPU)


def test_logistic_regression_is_at_the_minimum_of_its_loss(
    train: Features, held: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic_module, "BLOCK", 64)
    blocks = blocks_of(train, np.arange(150), 1, CPU)
    head = logistic(blocks, 6, 3, 0.01)
    rows = train.rows(np.arange(150))[:, 1].double().numpy()
    normal = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-6)
    weight, bias = (p.double().numpy() for p in (head.head.weight, head.head.bias))
    powers = np.exp(normal @ weight.T + bias)
    gap = powers / powers.sum(1, keepdims=True) - np.eye(3)[train.labels_N]
    # The loss is convex: where its gradient vanishes is the only minimum.
    gradient = gap.T @ normal / 150 + 0.01 * weight
    assert np.abs(gradient).max() < 1e-4 and np.abs(gap.mean(0)).max() < 1e-4
    assert np.abs(gradient - 0.01 * weight).max() > 1e-3  # the control: without the penalty it is elsewhere
    mine = counts(head, blocks_of(held, np.arange(70), 1, CPU), NAMES)
    assert mine.top1 > 0.6
    with pytest.raises(InvalidInput, match="penalty is -1"):
        logistic(blocks, 6, 3, -1)


def test_the_best_penalty_is_kept(train: Features, held: Features) -> None:
    mine, others = blocks_of(train, np.arange(150), 1, CPU), blocks_of(held, np.arange(70), 1, CPU)
    _, meter, strength = best_logistic(mine, others, 6, NAMES, (1e-3, 1e3))
    assert strength == 1e-3 and meter.top1 > 0.6


def test_few_shots_draw_as_many_of_each_class(train: Features, held: Features) -> None:
    rows = drawn(train.labels_N, 3, 4, np.random.default_rng(0))
    assert np.bincount(train.labels_N[rows]).tolist() == [4, 4, 4] and len(set(rows.tolist())) == 12
    others = blocks_of(held, np.arange(70), 1, CPU)
    one, many = few_shot(train, others, NAMES, 1, (1, 20), CPU, trials=6)
    assert many.mean > one.mean and many.deviation < one.deviation
    with pytest.raises(InvalidInput, match=r"shots are \[500\], expected 1 to \d+"):
        few_shot(train, others, NAMES, 1, (500,), CPU)
