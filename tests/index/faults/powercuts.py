"""Simulated power cuts: whatever subset of unsynced calls survives, everything acknowledged is there.

One run of the script is written down call by call; each cut takes a moment of it and an image of the disk.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from polylens.errors import PolylensError
from polylens.index import Collection, database
from polylens.index.errors import CollectionNotFound

from .disk import Journal, Platter, lay_out
from .faulty import FaultyFiles, FaultyOutput, Hub
from .script import PRODUCERS, Session, check_products, expected, held, kind


@dataclass
class Cut:
    cuts: int = 0
    calls: int = 0
    operations: int = 0
    before_creation: int = 0
    lost: list[str] = field(default_factory=list)
    degraded: int = 0  # opened, complete, but a sealed segment had to be rebuilt


class ForgetfulFiles(FaultyFiles):
    """A null control: files are renamed and folders changed without any sync."""

    def create(self, path: Path) -> FaultyOutput:
        output = super().create(path)
        output.sync = lambda: None  # type: ignore[method-assign]
        return output

    def sync_folder(self, path: Path) -> None:
        pass


def careless() -> AbstractContextManager[object]:
    """A null control: SQLite does not sync at a commit."""
    pragmas = tuple(p.replace("synchronous = FULL", "synchronous = NORMAL") for p in database._PRAGMAS)
    return mock.patch.object(database, "_PRAGMAS", pragmas)


def record(operations: int, folder: Path, files: type[FaultyFiles] = FaultyFiles) -> Journal:
    """The journal of a run of the script in a new folder, acknowledgements included."""
    folder.mkdir()
    journal = Journal(folder)
    with files(Hub(journal)) as faulty:
        session = Session(folder / "c", faulty)
        for number in range(operations):
            session.carry_out(number)
            journal.ack(number)
        session.close()
    return journal


def images(journal: Journal, cuts: int, generator: random.Random) -> Iterator[tuple[Platter, dict]]:
    """The disk at random moments, in order of time, each with one image of it."""
    platter, played = Platter(), 0
    moments = sorted(generator.randrange(1, len(journal.calls) + 1) for _ in range(cuts))
    for moment in moments:
        for call in journal.calls[played:moment]:
            platter.play(call)
        played = moment
        yield platter, platter.image(generator)


def power_cuts(
    cuts: int,
    operations: int,
    scratch: Path,
    seed: int,
    files: type[FaultyFiles] = FaultyFiles,
    pragmas: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Cut:
    """What came of cutting the power of one run at so many moments."""
    with pragmas():
        journal = record(operations, scratch / "run", files)
    outcome = Cut(calls=len(journal.calls), operations=operations)
    for platter, image in images(journal, cuts, random.Random(seed)):
        folder = scratch / f"cut{outcome.cuts}"
        outcome.cuts += 1
        lay_out(image, folder)
        _check(folder / "c", platter.acknowledged, outcome)
    return outcome


def _check(folder: Path, acknowledged: int, outcome: Cut) -> None:
    name = f"cut {outcome.cuts}, {acknowledged} operations acknowledged"
    try:
        with Collection.open(folder) as collection:
            state = held(collection)
            outcome.degraded += bool(collection.info().degraded)
    except CollectionNotFound:
        outcome.before_creation += 1
        if acknowledged:
            outcome.lost.append(f"{name}: there is no collection")
        return
    except (PolylensError, AssertionError) as error:
        outcome.lost.append(f"{name}: {error!r:.300}")
        return
    if state not in (expected(acknowledged), expected(acknowledged + 1)):
        outcome.lost.append(f"{name}: another state")
    if kind(acknowledged) in PRODUCERS or kind(acknowledged - 1) in PRODUCERS:
        try:
            check_products(folder, acknowledged)
        except (PolylensError, AssertionError) as error:
            outcome.lost.append(f"{name}: {error!r:.300}")
