"""The loss curve of a run as a picture."""

import json
from pathlib import Path

from ...errors import require

PARTS = ("loss", "contrast", "views", "image_proxy", "text_proxy")


def draw_curve(log: Path, picture: Path) -> None:
    """Writes `picture` (PNG): every loss part of `log` (log.jsonl) over the steps."""
    matplotlib = require("matplotlib", "train")
    matplotlib.use("Agg")
    pyplot = require("matplotlib.pyplot", "train")
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for part in PARTS:
        if points := [(row["step"], row[part]) for row in rows if part in row]:
            axes.plot(
                *zip(*points, strict=True), label=part.replace("_", " "), linewidth=2 if part == "loss" else 1
            )
    axes.set(xlabel="step", ylabel="loss (nats)", title="Contrastive training")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
