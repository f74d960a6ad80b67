"""A classifier's figures as files: JSON, a table per class, the confusion and the reliability as pictures."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import require
from ...whole import write_whole
from .metrics import BINS, Meter

NAMED_CLASSES = 40  # more than these are drawn without their names
SHADE, LINE = "#7dbb96", "#23734a"


def write_report(meter: Meter, folder: Path, title: str, **facts: Any) -> dict[str, Any]:
    """The figures written to `folder`/report.json; also per_class.csv, confusion.png and reliability.png.

    Sets with several right classes per image have neither a table per class nor a confusion.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"title": title, **facts, "metrics": meter.summary()}
    text = json.dumps(content, indent=2) + "\n"
    write_whole(folder / "report.json", lambda path: path.write_text(text, "utf-8"))
    rows = meter.per_class()
    if rows:
        write_whole(folder / "per_class.csv", lambda path: write_table(rows, path))
        draw_confusion(meter, folder / "confusion.png", title)
    draw_reliability(meter, folder / "reliability.png", title)
    return content


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Nothing; the file is then a CSV table of the rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def draw_confusion(meter: Meter, picture: Path, title: str) -> None:
    """Nothing; the picture shows for each right class (row) the shares of the answers (columns)."""
    pyplot = drawing()
    counts_CC = meter.confusion_CC.numpy()
    shares_CC = counts_CC / np.maximum(counts_CC.sum(1, keepdims=True), 1)
    side = 4 + 0.22 * min(len(meter.classes), NAMED_CLASSES)
    figure, axes = pyplot.subplots(figsize=(side + 1, side), layout="constrained")
    shown = axes.imshow(shares_CC, cmap="Greens", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(shown, ax=axes, label="share of the class's images", shrink=0.7)
    if len(meter.classes) <= NAMED_CLASSES:
        places = np.arange(len(meter.classes))
        axes.set_xticks(places, meter.classes, rotation=90, fontsize=8)
        axes.set_yticks(places, meter.classes, fontsize=8)
    axes.set(xlabel="answer", ylabel="class", title=f"{title}\ntop-1 {meter.top1:.3f}")
    save(pyplot, figure, picture)


def draw_reliability(meter: Meter, picture: Path, title: str) -> None:
    """Nothing; the picture shows the share of right answers over the confidence they were given with."""
    pyplot = drawing()
    images_K, confidence_K, right_K = meter.bins_K3.numpy().T
    filled = images_K > 0
    figure, (axes, below) = pyplot.subplots(
        2, 1, figsize=(5, 6), layout="constrained", height_ratios=(3, 1), sharex=True
    )
    edges = (np.arange(BINS) + 0.5) / BINS
    shares = right_K[filled] / images_K[filled]
    axes.bar(edges[filled], shares, width=0.9 / BINS, color=SHADE, label="share of right answers")
    axes.plot(confidence_K[filled] / images_K[filled], shares, "o-", color=LINE, markersize=4)
    axes.plot([0, 1], [0, 1], "--", color="#999999", linewidth=1, label="perfectly calibrated")
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of right answers")
    axes.set_title(f"{title}\ncalibration error {meter.calibration_error:.3f}")
    axes.legend(loc="upper left", frameon=False)
    below.bar(edges, images_K, width=0.9 / BINS, color="#bbbbbb")
    below.set(xlabel="confidence", ylabel="images")
    save(pyplot, figure, picture)


def draw_curve(log: Path, picture: Path) -> None:
    """Nothing; the picture shows every candidate's loss over the steps of a log.jsonl."""
    pyplot = drawing()
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    names = list(rows[-1]["losses"]) if rows else []
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name in names:
        axes.plot([row["step"] for row in rows], [row["losses"][name] for row in rows], label=name)
    axes.set(xlabel="step", ylabel="loss (nats)", title="Linear probe", yscale="log")
    axes.grid(alpha=0.3)
    if 0 < len(names) <= 12:
        axes.legend(fontsize=8)
    save(pyplot, figure, picture)


def table_of(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Lines of a plain table: a row a set, its images, top-1, top-5 and calibration error in percent."""
    width = max(len(name) for name in figures)
    lines = [f"{'':<{width}}   images   top-1   top-5   calibration error"]
    for name, found in figures.items():
        percent = "   ".join(f"{100 * found[key]:5.2f}" for key in ("acc1", "acc5", "calibration_error"))
        lines.append(f"{name:<{width}}  {int(found['images']):7,}   {percent}")
    return lines


def drawing() -> Any:
    """matplotlib's pyplot, drawing into files."""
    require("matplotlib", "train").use("Agg")
    return require("matplotlib.pyplot", "train")


def save(pyplot: Any, figure: Any, picture: Path) -> None:
    """Nothing; the figure is in the file, whole, and forgotten."""
    write_whole(picture, lambda path: figure.savefig(path, dpi=120, format="png"))
    pyplot.close(figure)
