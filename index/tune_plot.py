"""The recall and latency curves of a collection's indexes as a picture."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import require
from .tune import Curve


def draw(curves: Sequence[Curve], picture: Path) -> None:
    """Writes `picture` (PNG): for each segment recall over milliseconds, what was chosen, the exact scan."""
    matplotlib = require("matplotlib", "train")
    matplotlib.use("Agg")
    pyplot = require("matplotlib.pyplot", "train")
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for curve in curves:
        name = f"segment {curve.segment_id}: {curve.factory}, {curve.rows:,} rows"
        points = sorted((trial.ms, trial.recall) for trial in curve.trials)
        (line,) = axes.plot(*zip(*points, strict=True), marker=".", label=name)
        chosen = [trial for trial in curve.trials if trial.setting == curve.chosen]
        for trial in chosen:
            axes.plot(
                trial.ms, trial.recall, marker="o", markersize=10, fillstyle="none", color=line.get_color()
            )
        axes.plot(curve.scan_ms, 1.0, marker="x", linestyle="none", color=line.get_color())
    axes.set(xlabel="milliseconds of a single query (x: exact scan)", ylabel="recall", xscale="log")
    axes.set_title("Circles: what searches use")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
