"""The campaigns of benchmarks/service_faults.py in small: what they find in a sound and in a broken server.

In full they run for hours; docs/reliability-service.md has what they found.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from polylens.clip.decoding import pool
from polylens.service.client import Client

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from campaigns import cancelled, images, process, requests, restarts, soak  # noqa: E402
from campaigns.pictures import seeds  # noqa: E402

# A server with the faults that the campaigns look for.
BROKEN = f"""
import asyncio, os
import numpy as np
from polylens.errors import InvalidInput
from polylens.service import embedder, engine, status
told, run_images, search = status.told, embedder._run_images, engine.Engine.search
kept = []

def tells_unknown(error):
    code, text = told(error)
    return (status.Code.UNKNOWN, text) if isinstance(error, InvalidInput) else (code, text)

def gives_the_neighbours_vector(encoder, entries):
    made = run_images(encoder, entries)
    return made[1:] + made[:1]

async def leaks(self, *given, **named):
    kept.append([os.urandom(1 << 20), os.dup(1), asyncio.create_task(asyncio.sleep(3600))])
    return await search(self, *given, **named)

status.told, embedder._run_images, engine.Engine.search = tells_unknown, gives_the_neighbours_vector, leaks
{process.PROGRAM}
"""
SMALL = {"rate": 20.0, "seconds": 1.0, "memory": 64 << 20}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Process]:
    with process.Process(tmp_path_factory.mktemp("sound"), *restarts.FLAGS) as server:
        yield server


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Process]:
    with process.Process(tmp_path_factory.mktemp("broken"), program=BROKEN) as server:
        yield server


def test_damaged_pictures_are_decoded_or_refused() -> None:
    report = images.decode(500, seed=1)
    assert report.problems == []
    assert report.counts["decoded"] > 40 and report.counts["refused: InvalidImage"] > 200


def test_control_a_decoder_that_some_picture_kills_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import os
from polylens.clip.decoding import process as decoder
prepared = decoder.prepared
decoder.prepared = lambda recipe, image: os.abort() if len(image) % 50 == 7 else prepared(recipe, image)
decoder.main()
"""
    begin = subprocess.Popen

    def doctored(command: list[str], **how: object) -> subprocess.Popen[bytes]:
        return begin([command[0], "-c", program, *command[3:]], **how)  # type: ignore[call-overload]

    monkeypatch.setattr(pool.subprocess, "Popen", doctored)
    report = images.decode(100, seed=1)
    assert "a decoding process had to be replaced" in " ".join(report.problems)


def test_good_pictures_among_damaged_ones(sound: process.Process) -> None:
    report = images.neighbours(sound, 250, seed=1)
    assert report.problems == []
    assert report.counts["good ones that got their vector"] == 4 and report.counts["embedded"] > 10


def test_every_kind_of_picture_gets_a_vector(sound: process.Process) -> None:
    with Client(sound.grpc) as client:
        vectors_ND = client.embed_images(seeds())
    lengths = np.linalg.norm(vectors_ND, axis=1)
    assert len(vectors_ND) > 100 and np.abs(lengths - 1).max() < 1e-5


def test_control_another_ones_vector_is_noticed(broken: process.Process) -> None:
    report = images.neighbours(broken, 250, seed=1)
    assert report.counts["good ones that got their vector"] < 4
    assert any("refused with code 2" in one for one in report.problems)


def test_malformed_requests_get_documented_codes(sound: process.Process) -> None:
    report = requests.attack(sound, 500, seed=1)
    assert report.problems == []
    assert report.counts.total() == 500
    for kind in ("gRPC, damaged: OK", "gRPC, meaningless: INVALID_ARGUMENT", "HTTP, JSON damaged: 400"):
        assert report.counts[kind] > 0, report.text()


def test_control_an_undocumented_code_is_noticed(broken: process.Process) -> None:
    problems = requests.attack(broken, 100, seed=1).problems
    assert any("UNKNOWN" in one for one in problems)


def test_calls_given_up_leave_nothing_behind(sound: process.Process) -> None:
    report = cancelled.give_up(sound, 60, seed=1)
    assert report.problems == []
    assert report.counts["cancelled"] > 5 and report.counts.total() == 120


def test_an_honest_load_leaves_nothing_behind(sound: process.Process) -> None:
    report = soak.soak(sound, 0.12, seed=1, **SMALL)
    assert report.problems == []
    assert report.counts["answered"] > 40 and sound.holdings().tasks > 0


def test_control_what_stays_behind_is_noticed(broken: process.Process) -> None:
    problems = " ".join(soak.soak(broken, 0.12, seed=1, **SMALL).problems)
    assert "descriptors grew" in problems and "tasks grew" in problems


# A server that ends at once, whatever is under way.
ABRUPT = f"""
from polylens.service import server
server.Server.drain = lambda self: self.stop(0)
{process.PROGRAM}
"""
# A server whose record misses every tenth call.
FORGETFUL = f"""
import itertools, os
numbers, write = itertools.count(), os.write
os.write = lambda file, data: len(data) if b"/" in data and not next(numbers) % 10 else write(file, data)
{process.PROGRAM}
"""


def test_rolling_restarts_lose_no_accepted_call(tmp_path: Path) -> None:
    with (
        restarts.Recorded(tmp_path / "a", *restarts.FLAGS) as a,
        restarts.Recorded(tmp_path / "b", *restarts.FLAGS) as b,
    ):
        report = restarts.roll([a, b], 2, seed=1)
        assert report.problems == []
        assert report.counts["acknowledged writes found"] == report.counts["write answered"] > 0
        assert report.counts["answered the caller who knows both"] > 0
        # the control: servers that are killed lose what they were doing
        killed = restarts.roll([b, a], 1, seed=1, number=signal.SIGKILL)
        assert any("lost" in one for one in killed.problems)
        assert killed.counts["acknowledged writes found"] == killed.counts["write answered"]


@pytest.mark.parametrize(("program", "noticed"), [(ABRUPT, "lost"), (FORGETFUL, "the record is wrong")])
def test_control_restarts_that_break_calls_off_are_noticed_and_so_is_a_wrong_record(
    tmp_path: Path, program: str, noticed: str
) -> None:
    with restarts.Recorded(tmp_path, *restarts.FLAGS, program=program) as server:
        report = restarts.roll([server], 3, seed=1)
    assert any(noticed in one for one in report.problems), report.text()
