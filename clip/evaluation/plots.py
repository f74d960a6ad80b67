"""Results as pictures: bars for each language or data set, and robustness."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InvalidInput, require
from .results import Result, system_of

SHADES = ("#23734a", "#7dbb96", "#c9b458", "#8b867c", "#4a6fa5", "#b5651d")
SHIFTED = ("imagenetv2", "imagenet_sketch", "imagenet-a", "imagenet-r", "objectnet")


def draw_bars(heading: Sequence[str], rows: Sequence[Sequence[str]], picture: Path, *, metric: str) -> None:
    """Nothing; the picture has a group of bars for each column of a wide table, a bar for each model."""
    pyplot = _drawing()
    columns = list(heading[1:-1])
    places = np.arange(len(columns))
    high = 0.8 / len(rows)
    size = (8, 1.6 + 0.3 * len(columns) * max(1.0, 0.55 * len(rows)))
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    for number, (model, *figures) in enumerate(rows):
        values = [float(value) if value else np.nan for value in figures[:-1]]
        lanes = places - 0.4 + (number + 0.5) * high
        axes.barh(lanes, values, height=high, color=SHADES[number % len(SHADES)], label=model)
        for lane, value in zip(lanes, values, strict=True):
            if np.isfinite(value):
                axes.text(value + 0.005, lane, f"{value:.3f}", va="center", fontsize=7, color="#555555")
    axes.set_yticks(places, columns)
    axes.invert_yaxis()
    axes.set(xlabel=metric, xlim=(0, 1.08))
    _tidy(axes)
    figure.legend(loc="outside lower center", ncols=min(3, len(rows)), frameon=False)
    _save(pyplot, figure, picture)


def draw_robustness(results: Sequence[Result], picture: Path, *, metric: str = "acc1") -> None:
    """Nothing; the picture shows for each model ImageNet's figure against the mean of its shifted sets."""
    points = robustness(results, metric)
    pyplot = _drawing()
    figure, axes = pyplot.subplots(figsize=(6, 5.5), layout="constrained")
    axes.plot([0, 1], [0, 1], "--", color="#bbbbbb", linewidth=1)
    for number, (model, (plain, shifted, count)) in enumerate(points.items()):
        axes.scatter(plain, shifted, color=SHADES[number % len(SHADES)], zorder=3)
        note = "" if count == len(SHIFTED) else f" ({count} sets)"
        axes.annotate(f"{model}{note}", (plain, shifted), (6, -4), textcoords="offset points", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"ImageNet-1K {metric}")
    axes.set_ylabel(f"mean {metric} over {', '.join(SHIFTED)}", fontsize=8)
    _tidy(axes)
    _save(pyplot, figure, picture)


def robustness(results: Sequence[Result], metric: str = "acc1") -> dict[str, tuple[float, float, int]]:
    """For each model ImageNet's figure, the mean over its shifted sets, and how many of these there are."""
    figures: dict[str, dict[str, float]] = {}
    for content in results:
        if content.get("language") in ("en", "", None) and content["metrics"].get(metric) is not None:
            figures.setdefault(system_of(content), {})[content["dataset"]] = content["metrics"][metric]
    found = {}
    for model, own in figures.items():
        shifted = [own[name] for name in SHIFTED if name in own]
        if "imagenet1k" in own and shifted:
            found[model] = (own["imagenet1k"], sum(shifted) / len(shifted), len(shifted))
    if not found:
        raise InvalidInput(f"robustness needs results of imagenet1k and one of {', '.join(SHIFTED)}")
    return found


def _drawing() -> Any:
    matplotlib: Any = require("matplotlib", "train")
    matplotlib.use("Agg")
    return require("matplotlib.pyplot", "train")


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)


def _save(pyplot: Any, figure: Any, picture: Path) -> None:
    figure.savefig(picture, dpi=150)
    pyplot.close(figure)
