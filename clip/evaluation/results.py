"""Results as files with clip_benchmark's keys, and tables of many of them.

A result is {"dataset", "model", "pretrained", "task", "metrics", "language"} as clip_benchmark writes it, so
that its own tools read ours and ours read its; "fingerprint" and the like stand beside these.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InvalidInput
from ...whole import write_whole

KEYS = ("dataset", "model", "pretrained", "task", "metrics", "language")
Result = Mapping[str, Any]


def result(
    model: str, *, task: str, dataset: str, language: str, metrics: Mapping[str, float], **facts: Any
) -> dict[str, Any]:
    """The result of one run; figures that are not defined are null."""
    scheme, _, rest = model.partition(":")
    name, _, pretrained = rest.partition("/") if scheme == "open_clip" else (model, "", "")
    figures = {key: None if math.isnan(value) else value for key, value in metrics.items()}
    keys = (dataset, name, pretrained, task, figures, language)
    return dict(zip(KEYS, keys, strict=True)) | facts


def file_name(model: str, head: str, task: str, dataset: str, language: str) -> str:
    """The name of the file that holds such a result; the head only where it is not C."""
    name = Path(model).name if Path(model).is_absolute() else model
    parts = (name, "" if head == "C" else head, task, dataset, language)
    return "_".join(re.sub(r"[^\w.-]+", "-", part) for part in parts if part) + ".json"


def write_result(path: Path, content: Result) -> None:
    """Nothing; the file then holds the result, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, "utf-8"))


def finished(path: Path, **facts: Any) -> dict[str, Any] | None:
    """The result that stands in the file, if it is one and has the same facts; else None: run it."""
    if not path.is_file():
        return None
    try:
        content = read_result(path)
    except InvalidInput:
        return None
    return content if all(content.get(key) == value for key, value in facts.items()) else None


def read_result(path: Path) -> dict[str, Any]:
    """One result."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path.name} cannot be read as a result: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("metrics"), dict):
        raise InvalidInput(f"{path.name} is no result: expected the keys {', '.join(KEYS)}")
    return content


def read_results(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The results of files, and of all .json files of folders, in the order of their names."""
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise InvalidInput("no results: expected JSON files, or folders with some")
    return [read_result(file) for file in files]


def system_of(content: Result) -> str:
    """The model as a table shows it."""
    head = content.get("head", "C")
    parts = (content.get("model"), content.get("pretrained"), "" if head == "C" else head)
    return " ".join(part for part in parts if part)


def long_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: one row a result, one column for every metric that any has."""
    metrics = list(dict.fromkeys(name for content in results for name in content["metrics"]))
    rows = [
        [system_of(content), *(str(content.get(key, "")) for key in ("task", "dataset", "language"))]
        + [shown(content["metrics"].get(name)) for name in metrics]
        for content in results
    ]
    return ["model", "task", "dataset", "language", *metrics], rows


def wide_table(results: Sequence[Result], metric: str) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: one row a model, one column a data set and language, and their mean."""
    figures: dict[str, dict[str, float]] = {}
    for content in results:
        value = content["metrics"].get(metric)
        if value is not None:
            column = " ".join(filter(None, (content["dataset"], content.get("language"))))
            figures.setdefault(system_of(content), {})[column] = value
    if not figures:
        raise InvalidInput(f"none of the results has the metric {metric!r}")
    columns = list(dict.fromkeys(column for own in figures.values() for column in own))
    rows = []
    for system, own in figures.items():
        whole = len(own) == len(columns)  # a mean over fewer data sets would be no comparison
        mean = shown(sum(own.values()) / len(own)) if whole else ""
        rows.append([system, *(shown(own.get(column)) for column in columns), mean])
    return ["model", *columns, "mean"], rows


def shown(value: float | None) -> str:
    """A figure as tables show it."""
    return "" if value is None else f"{value:.4f}"


def markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table in markdown."""
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def comma_separated(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table in CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heading, *rows])
    return text.getvalue()
