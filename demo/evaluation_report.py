"""An evaluation as a table and as a bar plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from ..errors import require
from .evaluation import Evaluation, Recall, mean, mean_share
from .queries import LANGUAGES

NAMES = {language.tag: language.name for language in LANGUAGES}
# Light to dark: the bar of a larger k stands behind that of a smaller one.
SHADES = {10: "#cfe3d6", 5: "#7dbb96", 1: "#23734a"}


def language_name(tag: str) -> str:
    """The language's English name, or its tag where the demo does not know it."""
    return NAMES.get(tag, tag)


def table(found: Evaluation) -> Table:
    """One row a language and their mean; the last column is recall@10 among the held-out drawings alone."""
    ks = list(next(iter(found.languages.values())).at)
    drawn = Table(header_style="bold", title=f"{found.images:,} OpenMoji drawings found by name, and named")
    drawn.add_column("language", style="bold")
    drawn.add_column("names", justify="right")
    for k in ks:
        drawn.add_column(f"recall@{k}", justify="right")
    for k in next(iter(found.languages.values())).named:
        drawn.add_column(f"named, top-{k}", justify="right")
    if found.held_out is not None:
        drawn.add_column(f"recall@{ks[-1]} of {found.held_out_images} held out", justify="right")
    for tag, one in found.languages.items():
        unseen = _last(found.held_out[tag].at) if found.held_out else []
        shares = [*_shares(one.at), *_shares(one.named), *unseen]
        drawn.add_row(f"{language_name(tag)} ({tag})", f"{one.queries:,}", *shares)
    drawn.add_section()
    unseen = _last(mean(found.held_out.values())) if found.held_out else []
    named = mean_share([one.named for one in found.languages.values()])
    means = [*_shares(mean(found.languages.values())), *_shares(named), *unseen]
    drawn.add_row("mean", "", *means, style="bold")
    return drawn


def draw_bars(found: Evaluation, picture: Path, *, model: str) -> None:
    """Writes `picture` (PNG): a bar a language, best first, in which each k has its own shade."""
    matplotlib: Any = require("matplotlib", "train")
    matplotlib.use("Agg")
    pyplot: Any = require("matplotlib.pyplot", "train")
    ordered = sorted(found.languages.items(), key=lambda item: list(item[1].at.values()))
    figure, axes = pyplot.subplots(figsize=(8, 1.6 + 0.3 * len(ordered)), layout="constrained")
    labels = [language_name(tag) for tag, _ in ordered]
    for k in sorted(ordered[0][1].at, reverse=True):
        axes.barh(labels, [one.at[k] for _, one in ordered], color=SHADES[k], label=f"recall@{k}")
    for row, (_, one) in enumerate(ordered):
        shares = "   ".join(f"{share:.2f}" for share in one.at.values())
        axes.text(1.02, row, shares, va="center", fontsize=8, color="#555555")
    axes.set(xlim=(0, 1), xlabel="share of names", title=_title(found.languages, found.images, model))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=len(SHADES), frameon=False, reverse=True)
    figure.savefig(picture, dpi=150)
    pyplot.close(figure)


def _title(languages: Mapping[str, Recall], images: int, model: str) -> str:
    means = ", ".join(f"@{k} {share:.2f}" for k, share in mean(languages.values()).items())
    title = f"{model}: {images:,} OpenMoji drawings found by name"
    return f"{title}\nmean recall over {len(languages)} languages: {means}"


def _shares(at: Mapping[int, float]) -> list[str]:
    return [f"{share:.3f}" for share in at.values()]


def _last(at: Mapping[int, float]) -> list[str]:
    return _shares(at)[-1:]
