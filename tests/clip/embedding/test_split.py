"""Who does which unit: torchrun's and Slurm's environments, processes side by side, a disk that is full."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from polylens.backbone.world import World
from polylens.clip.embedding import shards
from polylens.clip.embedding.errors import Incomplete
from polylens.clip.embedding.plan import claim, mine
from polylens.clip.embedding.split import place
from polylens.clip.embedding.verify import verify
from polylens.errors import InvalidInput

from .toy_job import Job, digests, picture

Make = Callable[..., Job]
RANK = """
import sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from toy_job import Job
from polylens.clip.embedding.split import place
Job(Path(sys.argv[2]), [sys.argv[1]], unit_size=5).run(world=place())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(60):
        (root / f"{i:02}.png").write_bytes(picture(i))
    return root


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, World(0, 1, 0)),
        ({"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1"}, World(5, 16, 1)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "64"}, World(7, 64, 0)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "13",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "3",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_PROCID": "2",
                "SLURM_STEP_NUM_TASKS": "8",
                "SLURM_LOCALID": "2",
            },
            World(10, 32, 2),
        ),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}, World(3, 4, 1)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, World(0, 1, 0)),  # a shell of salloc, not a step
    ],
)
def test_the_place_is_that_of_the_environment(environment: dict[str, str], expected: World) -> None:
    assert place(environment=environment) == expected


def test_what_is_asked_for_goes_before_the_environment() -> None:
    assert place(1, 3, {"RANK": "5", "WORLD_SIZE": "16"}) == World(1, 3, 0)
    for rank, world in ((3, 3), (-1, 2), (0, None)):
        with pytest.raises(InvalidInput):
            place(rank, world, {})


def test_every_unit_has_one_owner() -> None:
    shares = [mine(range(11), rank, 3) for rank in range(3)]
    assert sorted(unit for own, _ in shares for unit in own) == list(range(11))
    assert all(sorted(own + others) == list(range(11)) for own, others in shares)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_side_by_side_give_the_same_rows(
    job: Make, folder: Path, count: int, tmp_path: Path
) -> None:
    calm, out = job(folder, unit_size=5), tmp_path / "shared"
    calm.run()
    program = RANK.format(folder=str(Path(__file__).parent))
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(folder), str(out)],
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(count)
    ]
    assert [process.wait(120) for process in ranks] == [0] * count
    assert digests(out) == digests(calm.out) and verify(out).problems == []


def test_the_living_do_what_the_dead_left(job: Make, folder: Path) -> None:
    calm, one = job(folder, unit_size=5), job(folder, unit_size=5)
    calm.run()
    assert one.run(world=World(1, 3, 0)) is not None  # ranks 0 and 2 never came
    assert digests(one.out) == digests(calm.out)


def test_a_unit_that_another_process_has_is_left_to_it(job: Make, folder: Path) -> None:
    one = job(folder, unit_size=5)
    one.run()
    (one.out / "stats" / "03.json").unlink()
    release = claim(one.out, 3)
    assert release is not None and claim(one.out, 3) is None
    assert one.run() is None
    release()
    assert one.run() is not None


def test_a_full_disk_is_one_sentence_and_costs_nothing_that_was_done(
    job: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, real, count = job(folder, unit_size=5), shards.publish, iter(range(1000))

    def full(written: Path, path: Path) -> None:
        if next(count) == 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(written, path)

    monkeypatch.setattr(shards, "publish", full)
    with pytest.raises(Incomplete, match="No space left"):
        one.run()
    assert len(list((one.out / "stats").iterdir())) == 3
    assert one.run() is not None and verify(one.out).problems == []
