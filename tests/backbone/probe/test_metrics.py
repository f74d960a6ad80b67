"""The counts against a naive twin, written image by image."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from polylens.backbone.probe.metrics import BINS, Meter
from polylens.backbone.probe.report import table_of, write_report
from polylens.errors import InvalidInput

NAMES = tuple("abcdefgh")


def batch(count: int = 200, right: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(right)
    logits = torch.randn(count, len(NAMES), generator=generator) * 2
    labels = torch.stack([torch.randperm(len(NAMES), generator=generator)[:right] for _ in range(count)])
    if right > 1:
        labels[::3, 1:] = -1  # these have but one
        return logits, labels
    return logits, labels[:, 0]


def naive(logits: np.ndarray, labels: np.ndarray, columns: list[int]) -> dict[str, float]:
    first, fifth, confidences, hits = 0, 0, [], []
    for row, own in zip(logits[:, columns], labels.reshape(len(logits), -1), strict=True):
        order = [columns[i] for i in np.argsort(-row)]
        wanted = {int(label) for label in own if label >= 0}
        first += order[0] in wanted
        fifth += bool(wanted & set(order[:5]))
        powers = np.exp(row - row.max())
        confidences.append(powers.max() / powers.sum())
        hits.append(order[0] in wanted)
    gap = 0.0
    for low in np.arange(BINS) / BINS:
        inside = [i for i, c in enumerate(confidences) if low <= c < low + 1 / BINS]
        if inside:
            gap += abs(sum(confidences[i] - hits[i] for i in inside))
    return {
        "acc1": first / len(logits),
        "acc5": fifth / len(logits),
        "calibration_error": gap / len(logits),
    }


@pytest.mark.parametrize("right", [1, 3])
def test_shares_are_the_naive_ones(right: int) -> None:
    logits, labels = batch(right=right)
    meter = Meter(NAMES)
    for part in (slice(0, 70), slice(70, 71), slice(71, None)):
        meter.update(logits[part], labels[part])
    wanted = naive(logits.numpy(), labels.numpy(), list(range(8)))
    found = meter.summary()
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_only_the_columns_are_answered() -> None:
    logits, labels = batch()
    columns = [1, 2, 3, 5, 6, 7]
    kept = torch.isin(labels, torch.tensor(columns))
    meter = Meter(NAMES, columns)
    meter.update(logits[kept], labels[kept])
    found, wanted = meter.summary(), naive(logits[kept].numpy(), labels[kept].numpy(), columns)
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)
    open_to_all = naive(logits[kept].numpy(), labels[kept].numpy(), list(range(8)))
    assert wanted["acc1"] > open_to_all["acc1"]  # the control: the restriction matters here


def test_ties_and_nan_are_not_right() -> None:
    meter = Meter(NAMES)
    meter.update(torch.zeros(4, 8), torch.arange(4))
    meter.update(torch.full((2, 8), torch.nan), torch.arange(2))
    assert meter.top1 == meter.top5 == 0.0
    meter.update(torch.eye(8), torch.arange(8))
    assert meter.top1 == 8 / 14
    with pytest.raises(InvalidInput, match="no class is left"):
        Meter(NAMES, [])


def test_the_table_per_class_counts_confusions(tmp_path: Path) -> None:
    logits, labels = batch()
    meter = Meter(NAMES)
    meter.update(logits, labels)
    answers = logits.argmax(1)
    for row, name in zip(meter.per_class(), NAMES, strict=True):
        own = labels == NAMES.index(name)
        assert row["class"] == name and row["images"] == int(own.sum())
        assert row["top1"] == pytest.approx(float((answers[own] == labels[own]).float().mean()))
        assert row["top5"] == pytest.approx(
            float((logits[own].topk(5).indices == labels[own, None]).any(1).float().mean())
        )
        wrong = answers[own][answers[own] != labels[own]]
        assert row["times"] == int(torch.bincount(wrong, minlength=8).max())
        assert int((wrong == NAMES.index(row["taken_for"])).sum()) == row["times"]
    write_report(meter, tmp_path, "a title")
    with (tmp_path / "per_class.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == list(NAMES)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["title"] == "a title" and report["metrics"]["acc1"] == meter.top1
    assert "mean_per_class_recall" in report["metrics"]
    head, line = table_of({"set": meter.summary()})
    assert head.split()[:2] == ["images", "top-1"] and line.split()[:2] == ["set", "200"]


def test_sets_with_several_right_classes_have_no_confusion(tmp_path: Path) -> None:
    logits, labels = batch(right=3)
    meter = Meter(NAMES)
    meter.update(logits, labels)
    write_report(meter, tmp_path, "real")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reliability.png", "report.json"]
