"""The check finds what is missing, doubled, changed or foreign; of a whole output it has nothing to say."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from polylens.clip.embedding.plan import Plan
from polylens.clip.embedding.plot import draw_summary
from polylens.clip.embedding.shards import described
from polylens.clip.embedding.verify import verify
from polylens.errors import InvalidInput

from .toy_job import Job, picture

Damage = Callable[[Path], None]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output of a job in three units with two rejects."""
    source = tmp_path / "photos"
    source.mkdir()
    for i in range(13):
        (source / f"{i:02}.png").write_bytes(picture(i))
    (source / "bad.png").write_bytes(b"x")
    (source / "empty.jpg").touch()
    Job(tmp_path / "out", [source], unit_size=6, dtype="float32").run()
    return tmp_path / "out"


def recorded(out: Path, unit: int, file: str) -> None:
    """Makes the record agree with a file that was changed."""
    path = out / "stats" / f"{unit}.json"
    record = json.loads(path.read_text())
    record["files"][file] = described(out / file)
    path.write_text(json.dumps(record))


def flip_a_bit(out: Path) -> None:
    file = out / "img_emb" / "img_emb_1.npy"
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(data)


def drop_a_row(out: Path) -> None:
    file = out / "metadata" / "metadata_1.parquet"
    parquet.write_table(parquet.read_table(file).slice(1), file)
    recorded(out, 1, "metadata/metadata_1.parquet")


def swap_rows(out: Path) -> None:
    file = out / "metadata" / "metadata_0.parquet"
    parquet.write_table(parquet.read_table(file).take([1, 0, 2, 3, 4, 5]), file)
    recorded(out, 0, "metadata/metadata_0.parquet")


def double_a_row(out: Path) -> None:
    file = out / "metadata" / "metadata_0.parquet"
    parquet.write_table(parquet.read_table(file).take([0, 0, 2, 3, 4, 5]), file)
    recorded(out, 0, "metadata/metadata_0.parquet")


def lengthen_a_vector(out: Path) -> None:
    file = out / "img_emb" / "img_emb_0.npy"
    vectors = np.load(file, allow_pickle=False)
    vectors[2] *= 1.01
    np.save(file, vectors)
    recorded(out, 0, "img_emb/img_emb_0.npy")


def lose_a_vector(out: Path) -> None:
    file = out / "img_emb" / "img_emb_0.npy"
    np.save(file, np.load(file, allow_pickle=False)[1:])
    recorded(out, 0, "img_emb/img_emb_0.npy")


DAMAGES: dict[str, tuple[Damage, str]] = {
    "bit": (flip_a_bit, "unit 1: img_emb/img_emb_1.npy has another checksum"),
    "row": (drop_a_row, "unit 1: missing: 06.png"),
    "order": (swap_rows, "unit 0: the rows are not in the order"),
    "double": (double_a_row, "unit 0: there more than once: 00.png"),
    "length": (lengthen_a_vector, "unit 0: row 2 of img_emb is not of length 1"),
    "vector": (lose_a_vector, r"unit 0: img_emb is float32 \(5, 8\), expected float32 \(6, 8\)"),
    "record": (lambda out: (out / "stats" / "2.json").unlink(), "unit 2 is not done"),
    "file": (lambda out: (out / "rejects" / "rejects_2.jsonl").unlink(), "unit 2 is not done"),
    "stray": (lambda out: (out / "img_emb" / "img_emb_7.npy").touch(), "img_emb_7.npy belongs to no unit"),
    "manifest": (lambda out: (out / "manifest.json").unlink(), "the manifest is not there"),
    "input": (lambda out: (out.parent / "photos" / "03.png").unlink(), ""),
}


def test_of_a_whole_output_there_is_nothing_to_say(out: Path) -> None:
    found = verify(out)
    assert (found.units, found.rows, found.rejected, found.problems) == (3, 13, 2, [])
    assert verify(out, inputs=False).problems == []


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found(out: Path, name: str) -> None:
    damage, words = DAMAGES[name]
    damage(out)
    problems = verify(out).problems
    if words:
        assert len(problems) >= 1
        with pytest.raises(AssertionError, match=words):
            raise AssertionError("; ".join(problems))
    else:  # the plan holds what the source held then: what is gone since is another matter
        assert problems == []


def test_only_an_output_can_be_checked(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not the output of a job"):
        verify(tmp_path)


def test_the_job_is_drawn(out: Path) -> None:
    file = draw_summary(Plan(out))
    assert file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 5000
