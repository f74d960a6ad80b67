"""Few-shot subsets: as many images as asked for, always the same ones."""

from pathlib import Path
from typing import Any

import pytest
from mmseg.registry import DATASETS
from polylens.errors import InvalidInput


def subset(drawn: Path, images: int, seed: int = 0) -> Any:
    folders = {"img_path": "images/training", "seg_map_path": "annotations/training"}
    return DATASETS.build(
        {
            "type": "FewShot", "of": "mmseg.ADE20KDataset", "images": images, "seed": seed,
            "data_root": str(drawn), "data_prefix": folders,
        }
    )  # fmt: skip


def paths(dataset: Any) -> list[str]:
    return [dataset.get_data_info(index)["img_path"] for index in range(len(dataset))]


def test_as_many_as_asked_for_and_always_the_same(drawn: Path) -> None:
    some = paths(subset(drawn, 3))
    assert len(set(some)) == 3
    assert some == paths(subset(drawn, 3))
    assert any(some != paths(subset(drawn, 3, seed)) for seed in (1, 2, 3))
    assert len(subset(drawn, 3).metainfo["classes"]) == 150


def test_they_are_not_simply_the_first(drawn: Path) -> None:
    everything = paths(subset(drawn, 8))
    assert len(everything) == 8
    assert any(paths(subset(drawn, 3, seed)) != everything[:3] for seed in (0, 1))


def test_more_than_there_are_is_refused(drawn: Path) -> None:
    with pytest.raises(InvalidInput, match="asks for 9 images of a data set that has 8"):
        subset(drawn, 9)
