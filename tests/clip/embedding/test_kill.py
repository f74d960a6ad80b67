"""A job that is killed at any moment goes on, loses one unit at the most, and leaves the same bytes.

The full campaign, 200 kills during one job over 20,000 pictures (about three minutes):

    POLYLENS_KILLS=200 POLYLENS_PICTURES=20000 python -m pytest tests/clip/embedding/test_kill.py
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from .toy_job import Job, digests, picture

KILLS = int(os.environ.get("POLYLENS_KILLS", "20"))
PICTURES = int(os.environ.get("POLYLENS_PICTURES", "2000"))
SEED = int(os.environ.get("POLYLENS_SEED", "1"))
UNIT = 100


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of pictures of which every hundredth is none."""
    file = tmp_path_factory.mktemp("source") / "t.parquet"
    schema = pa.schema([("image", pa.binary()), ("caption", pa.string())])
    with parquet.ParquetWriter(file, schema) as writer:
        for first in range(0, PICTURES, UNIT):
            cells = [picture(i) if i % 100 else b"no picture" for i in range(first, first + UNIT)]
            writer.write_table(pa.table({"image": cells, "caption": [f"{i}" for i in range(UNIT)]}, schema))
    return file


@pytest.fixture(scope="module")
def calm(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The output of the job when nobody kills it."""
    out = tmp_path_factory.mktemp("calm") / "out"
    tell(source, out, 0)
    yield out


def tell(source: Path, out: Path, kills: int, *more: str) -> dict[str, Any]:
    program = Path(__file__).with_name("killed_job.py")
    command = [sys.executable, str(program), str(source), str(out), str(kills), str(SEED), *more]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.timeout(1800)
def test_whatever_is_killed_the_bytes_are_the_same(source: Path, calm: Path, tmp_path: Path) -> None:
    told = tell(source, tmp_path / "out", KILLS)
    assert told["status"] == 0 and told["kills"] >= KILLS * 0.9
    assert told["most"] <= 1
    assert PICTURES // UNIT < told["begun"] <= PICTURES // UNIT + told["kills"]
    assert digests(tmp_path / "out") == digests(calm)
    assert not [file.name for file in (tmp_path / "out").rglob(".*") if file.is_file()]


def test_nothing_is_missing_or_there_twice(source: Path, calm: Path) -> None:
    one = Job(calm, [source])
    ids = [*(row["id"] for row in one.rows()), *one.rejects()]
    assert sorted(ids) == sorted(f"t.parquet:{i}" for i in range(PICTURES))
    assert len(one.rejects()) == PICTURES // 100 and len(one.vectors()) == len(one.rows())


@pytest.mark.timeout(600)
def test_control_without_the_rename_rows_are_lost(source: Path, calm: Path, tmp_path: Path) -> None:
    told = tell(source, tmp_path / "out", 5, "in-place")
    assert told["kills"] >= 1
    assert digests(tmp_path / "out") != digests(calm)


def test_a_second_job_over_a_complete_output_does_nothing(source: Path, calm: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in calm.rglob("*_*.*") if file.is_file()}
    told = tell(source, calm, 0)
    assert told["begun"] == PICTURES // UNIT
    assert before == {file: file.stat().st_mtime_ns for file in calm.rglob("*_*.*") if file.is_file()}
