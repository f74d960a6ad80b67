"""Tables and tars give the same rows; what is missing is said."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polylens.clip.training.data import load_pairs
from polylens.errors import InvalidInput


def test_a_tar_and_a_table_hold_the_same_pairs(training_files: Path) -> None:
    table = load_pairs([str(training_files / "pairs.parquet")], None)
    tar = load_pairs([str(training_files / "pairs.tar")], None)
    assert table.group_names == tar.group_names
    assert len(table) == len(tar) == 8
    assert [table.read(i) for i in range(8)] == [tar.read(i) for i in range(8)]
    random = np.random.default_rng(0)
    assert [tar.texts.draw(g, random, 0.5, None) for g in range(8)] == list(tar.group_names)


def test_rows_without_a_group_are_groups_of_their_own(training_files: Path, tmp_path: Path) -> None:
    table = pq.read_table(training_files / "pairs.parquet").drop_columns(["group"])
    pq.write_table(table.rename_columns(["image", "caption"]), tmp_path / "a.parquet")
    pairs = load_pairs([str(tmp_path / "a.parquet"), str(tmp_path / "a.parquet")], None)
    assert len(set(pairs.group_names)) == 8 and len(pairs) == 16


def test_languages_are_heard_equally_and_names_as_often_as_asked(training_files: Path) -> None:
    pairs = load_pairs([str(training_files / "images.parquet")], str(training_files / "texts.parquet"))
    random = np.random.default_rng(0)
    drawn = Counter(pairs.texts.draw(0, random, 0.5, None) for _ in range(400))
    assert set(drawn) == {"red", "a red thing"} and min(drawn.values()) > 150
    only = {pairs.texts.draw(0, random, 0.5, frozenset({"xx"})) for _ in range(20)}
    assert only == {"a red thing"}
    assert (
        pairs.texts.draw(0, random, 0.5, frozenset({"nowhere"})) in drawn
    )  # better another language than no text


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": [b"x"]}, "expected 'image'"),
        ({"image": [b"x"]}, "1 of 1 groups of images have no text"),
    ],
)
def test_an_unfit_table_is_refused(tmp_path: Path, columns: dict[str, list[bytes]], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "bad.parquet")
    with pytest.raises(InvalidInput, match=message):
        load_pairs([str(tmp_path / "bad.parquet")], None)


def test_a_tar_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(InvalidInput, match=r"bad\.tar as a webdataset tar"):
        load_pairs([str(tmp_path / "bad.tar")], None)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"gone\.parquet is not a file"):
        load_pairs([str(tmp_path / "gone.parquet")], None)
