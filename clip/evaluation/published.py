"""The published figures: those the InternVL checkpoints must reach, and those of the systems compared there.

From Chen et al., "InternVL" (arXiv 2312.14238), and the tables of its repository; averages have the language
or the data sets they are of. Fractions, not percent.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DATA = Path(__file__).with_name("published.json")
# One data set, one language, two names.
DATA_SETS = {"xtd10": "multilingual_mscoco_captions"}
CAPTIONED = {
    "mscoco_captions": "coco_karpathy_test",
    "flickr30k": "flickr30k_karpathy_test",
    "nocaps": "nocaps_val",
}
TAGS = {"cn": "zh", "jp": "ja"}


@dataclass(frozen=True)
class Row:
    """The metrics of one system on one data set, in [0, 1] (CIDEr above it), as clip_benchmark names them."""

    system: str
    task: str
    dataset: str
    language: str
    metrics: Mapping[str, float]


@cache
def published() -> tuple[Row, ...]:
    """Every published row."""
    return tuple(Row(**row) for row in json.loads(DATA.read_text("utf-8")))


def published_beside(task: str, dataset: str, language: str) -> list[Row]:
    """The published rows of the same task, data set and language as a measured one."""
    names = CAPTIONED if task == "captioning" else DATA_SETS
    wanted = (task, names.get(dataset, dataset), TAGS.get(language, language))
    return [
        row for row in published() if (row.task, row.dataset, TAGS.get(row.language, row.language)) == wanted
    ]
