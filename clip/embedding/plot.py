"""A job as a picture: how fast it went, and what it refused."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ...errors import require
from .manifest import records
from .plan import Plan
from .shards import REJECTS, Shard

PICTURE = "summary.png"
REASONS = 8  # kinds of reasons that get a bar


def draw_summary(plan: Plan) -> Path:
    """The picture OUT/summary.png, which is written now: samples over time, rates of units, reasons."""
    matplotlib = require("matplotlib", "embed")
    matplotlib.use("Agg")
    pyplot = require("matplotlib.pyplot", "embed")
    points = _points(plan)
    reasons = Counter(reason for number in range(len(plan)) for reason in _reasons(plan, number))
    figure, (over_time, rates, bars) = pyplot.subplots(1, 3, figsize=(14, 4), layout="constrained")
    hours, totals = [hour for hour, _, _ in points], [0]
    for _, count, _ in points:
        totals.append(totals[-1] + count)
    over_time.step([0.0, *hours], totals, where="post")
    over_time.set(xlabel="hours", ylabel="samples", title=f"{totals[-1]:,} samples in {len(points):,} units")
    rates.plot(hours, [rate for _, _, rate in points], ".", markersize=3)
    rates.set(xlabel="hours", ylabel="samples per second", title="Rate of each unit", ylim=(0, None))
    common = reasons.most_common(REASONS)[::-1]
    bars.barh([f"{reason:.40}" for reason, _ in common], [count for _, count in common])
    bars.set(xlabel="samples", title=f"{sum(reasons.values()):,} refused")
    for axes in (over_time, rates, bars):
        axes.grid(alpha=0.3)
    picture = plan.out / PICTURE
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
    return picture


def _points(plan: Plan) -> list[tuple[float, int, float]]:
    """(hours since the beginning, samples, samples per second) of each unit, by the time of its end."""
    done = [record for record in records(plan) if record is not None]
    first = min((_seconds(record, "start_time") for record in done), default=0.0)
    points = []
    for record in sorted(done, key=lambda record: str(record["end_time"])):
        count = record["sample_count"] + record["rejected"]
        points.append(
            (
                (_seconds(record, "end_time") - first) / 3600,
                count,
                count / max(record["total_duration"], 1e-3),
            )
        )
    return points


def _seconds(record: dict[str, Any], name: str) -> float:
    return datetime.fromisoformat(record[name]).timestamp()


def _reasons(plan: Plan, number: int) -> Iterator[str]:
    """The reasons of a unit's rejects, alike where they differ in numbers and names only."""
    file = Shard(plan.out, number, len(plan)).file(REJECTS)
    if file.exists():
        for line in file.read_text("utf-8").splitlines():
            reason = json.loads(line)["reason"]
            yield re.sub(r"'[^']*'|\d+", "…", reason)
