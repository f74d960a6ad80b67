"""The probes of docs/probe.md on one data set over several random splits, with the backbone of `mini`:

    python benchmarks/probe_splits.py data/emoji --splits 5

DATA has train/, val/ and test/; all their images are divided anew for each split. What is chosen (layer,
neighbours, learning rate, penalty) is chosen on the validation images; what is printed was measured on the
test images. The features are computed once, in memory. With --passes, the probe is trained on that many
augmented views of each image instead of the plain one, as `polylens probe train --passes` does.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from polylens.backbone.probe.config import ProbeConfig
from polylens.backbone.probe.frozen import Frozen, freeze
from polylens.backbone.probe.layouts import read_set
from polylens.backbone.probe.learner import Learner
from polylens.backbone.probe.logistic import STRENGTHS, logistic
from polylens.backbone.probe.samples import Samples
from polylens.backbone.probe.sources import Schedule
from polylens.backbone.probe.stream import PLAIN, cut, stream
from polylens.backbone.world import World
from polylens.clip.load import MINI
from torch import Tensor

ALONE = World(0, 1, 0)
KS = (1, 5, 10, 20)


@dataclass
class Part:
    """Features (N, L, F) of some images, their labels, and the features (P, N, L, F) of other views."""

    features: Tensor
    labels: Tensor
    views: Tensor


def accuracy(scores_NC: Tensor, labels_N: Tensor) -> float:
    return float((scores_NC.argmax(1) == labels_N).float().mean())


def neighbours(train: Part, others: list[Part], classes: int) -> Iterator[list[float]]:
    """Accuracies on the other parts, for each layer and number of neighbours (weights as in knn.py)."""
    for layer in range(train.features.shape[1]):
        known = F.normalize(train.features[:, layer], dim=1)
        cosines = [F.normalize(part.features[:, layer], dim=1) @ known.T for part in others]
        for k in KS:
            found = []
            for part, cosines_NT in zip(others, cosines, strict=True):
                near, rows = cosines_NT.topk(k, dim=1)
                votes = torch.zeros(len(near), classes)
                votes.scatter_add_(1, train.labels[rows], (near / 0.07).exp())
                found.append(accuracy(votes, part.labels))
            yield found


def regressions(train: Part, others: list[Part], classes: int) -> Iterator[list[float]]:
    """Accuracies on the other parts, for each layer and penalty."""
    for layer in range(train.features.shape[1]):
        for strength in STRENGTHS:
            block = [(train.features[:, layer], train.labels)]
            head = logistic(lambda block=block: iter(block), train.features.shape[2], classes, strength)
            yield [accuracy(head(part.features[:, layer]), part.labels) for part in others]


def probes(train: Part, others: list[Part], learner: Learner, schedule: Schedule) -> Iterator[list[float]]:
    """Accuracies on the other parts, for each layer and learning rate, after the steps of the schedule."""
    learner.heads.train()
    for step in range(schedule.steps):
        rows, epochs = schedule.rows(step, ALONE)
        batch = train.views[epochs % len(train.views), rows]
        learner.step(step, batch, train.labels[rows], schedule.rate_share(step))
    with torch.no_grad():
        for number, candidate in enumerate(learner.candidates):
            head = learner.average_head(number)
            yield [accuracy(head(part.features[:, candidate.place]), part.labels) for part in others]


def computed(sets: list[Samples], frozen: Frozen, config: ProbeConfig, epoch: int) -> Tensor:
    """(N, L, F) of one view of every image."""
    parts = []
    for one in sets:
        views = [(rows, np.full(len(rows), epoch)) for rows in cut(np.arange(len(one)), 64)]
        parts += list(stream(one, frozen, config, views))
    return torch.cat(parts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--passes", type=int, default=0)
    options = parser.parse_args()
    config = ProbeConfig.from_toml("folder", model=str(MINI), passes=options.passes)
    frozen = freeze(config.model, config.head, config.layers)
    sets = [read_set(options.data / name) for name in ("train", "val", "test")]
    labels = torch.cat([torch.from_numpy(one.labels_N) for one in sets])
    features, classes = computed(sets, frozen, config, PLAIN), len(sets[0].classes)
    passes = [computed(sets, frozen, config, epoch) for epoch in range(config.passes)]
    views = torch.stack(passes or [features])
    rows: dict[str, list[float]] = {"chance": [], "neighbours": [], "regression": [], "probe": []}
    for split in range(options.splits):
        order = torch.from_numpy(np.random.default_rng(split).permutation(len(labels)))
        low, high = round(0.6 * len(order)), round(0.75 * len(order))
        train, *others = (
            Part(features[o], labels[o], views[:, o]) for o in (order[:low], order[low:high], order[high:])
        )
        schedule = Schedule.of(config, len(train.labels), ALONE)
        learner = Learner(frozen, classes, config, schedule.batch_size)
        rows["chance"].append(float(torch.bincount(others[1].labels).max() / len(others[1].labels)))
        rows["neighbours"].append(max(neighbours(train, others, classes))[1])
        rows["regression"].append(max(regressions(train, others, classes))[1])
        rows["probe"].append(max(probes(train, others, learner, schedule))[1])
        print(split, {name: round(100 * found[-1], 2) for name, found in rows.items()}, flush=True)
    for name, found in rows.items():
        gain = 100 * (np.array(rows["probe"]) - np.array(found))
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        print(
            f"{name:12} {100 * np.mean(found):6.2f}   the probe is better by {gain.mean():5.2f} ± {error:.2f}"
        )


if __name__ == "__main__":
    main()
