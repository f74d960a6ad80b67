"""Opening that is killed again and again, and a segment that kills whoever loads it."""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from polylens.index import Collection, manifest, sealed
from polylens.index.files import Files

from .faulty import FaultyFiles, KillAt, kill
from .forked import Forker, Say
from .script import Session, expected, held

OPERATIONS = 34  # of the script: sealed segments, a tail, deletions, and a log that was not copied back


@dataclass
class Storm:
    kills: int = 0
    finished: int = 0  # openings that came to their end before the kill


def _prepare(folder: Path) -> None:
    """A collection that was killed at work."""
    session = Session(folder.parent / "origin", Files())
    for number in range(OPERATIONS):
        session.carry_out(number)
    os.system(f"cp -r {session.folder} {folder}")  # what a kill would leave: nobody closed it
    session.close()


def open_and_die(say: Say, folder: str, at: int, moment: str) -> None:
    """The job of a child: opens the collection, killed at its call `at`."""
    with FaultyFiles(KillAt(at, moment)) as files:
        Collection.open(folder, files=files)
        say("open")
        os._exit(0)


def storm(kills: int, scratch: Path, seed: int) -> Storm:
    """What came of opening a collection and being killed so many times; AssertionError if it suffered."""
    generator, outcome, folder = random.Random(seed), Storm(), scratch / "c"
    _prepare(folder)
    with Forker("recovery") as forker:
        for _ in range(kills):
            by_call = generator.random() < 0.5
            at, moment = (
                generator.randint(1, 12) if by_call else 10**9,
                generator.choice(["before", "torn", "after"]),
            )
            lines = forker.run("recovery:open_and_die", folder=str(folder), at=at, moment=moment)
            if not by_call:
                time.sleep(generator.uniform(0, 0.03))
                forker.kill()
            outcome.kills += 1
            outcome.finished += ["open"] in list(lines)
    check(folder)
    return outcome


def check(folder: Path) -> list[str]:
    """What an opening says is degraded; AssertionError unless all items are there."""
    with Collection.open(folder, background=False) as collection:
        assert held(collection) == expected(OPERATIONS), "other items after the kills"
        return collection.info().degraded


def load_poison(say: Say, folder: str, counted: bool) -> None:
    """The job of a child: opens the collection, and dies when it loads an index."""
    sealed.read_index = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
    if not counted:
        manifest.begin_loading = lambda *_: None
    with Collection.open(folder, background=False) as collection:
        assert held(collection) == expected(OPERATIONS)
        say("up", len(collection.info().degraded))
        kill()


def planted(scratch: Path, tries: int, counted: bool = True) -> tuple[int, int]:
    """After how many deaths the collection with a deadly segment was up, and how much was degraded then.

    Without `counted`, a null control, nobody writes down that an opening began.
    """
    folder = scratch / "c"
    _prepare(folder)
    with Forker("recovery") as forker:
        for deaths in range(tries):
            lines = list(forker.run("recovery:load_poison", folder=str(folder), counted=counted))
            if lines[0][0] == "up":
                return deaths, int(lines[0][1])
    return tries, 0
