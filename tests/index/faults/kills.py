"""SIGKILL: at random moments of a collection at work, and around every call of a script.

Nothing acknowledged may be missing, nothing else may be there but, wholly, the one operation under way.
"""

import itertools
import os
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from polylens.index import Collection
from polylens.index.errors import CollectionNotFound
from polylens.index.files import Files

from .faulty import FaultyFiles, KillAt
from .forked import Forker, Say
from .script import PRODUCERS, Session, State, change, check_products, expected, held, kind, states
from .sweep import Swept, sweep

THREADS = 2
MOMENTS = ("before", "torn", "after")


def survived(state: State, thread: int, acknowledged: int) -> int | None:
    """How many operations of the thread the state holds; None if that is not what was acknowledged."""
    mine = {id: item for id, item in state.items() if id.startswith(f"{thread}-")}
    allowed = list(itertools.islice(states(thread), acknowledged, acknowledged + 2))
    return next((acknowledged + n for n in (1, 0) if allowed[n] == mine), None)


def work(say: Say, folder: str, acknowledged: list[int], hasty: bool) -> None:
    """The job of a child: says what it finds, then writes on, one thread for each number, until killed."""
    with Collection.open(folder) as collection:
        state = held(collection)
        kept = [survived(state, thread, count) for thread, count in enumerate(acknowledged)]
        if None in kept:
            say("lost", *kept)
            return
        say("kept", *kept)
        jobs = [
            threading.Thread(target=_write_on, args=(say, collection, thread, start, hasty))
            for thread, start in enumerate(kept)
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()


def _write_on(say: Say, collection: Collection, thread: int, start: int, hasty: bool) -> None:
    for number in itertools.count(start):
        if hasty:
            say("ack", thread, number)
            time.sleep(0.003)
        match kind(number):
            case "seal":
                collection.seal()
            case "compact":
                collection.compact()
            case "upsert" | "delete" | "import":
                change(collection, number, thread)
        if not hasty:
            say("ack", thread, number)


@dataclass
class Killed:
    kills: int = 0
    while_opening: int = 0
    operations: int = 0
    lost: list[str] = field(default_factory=list)


def random_kills(kills: int, scratch: Path, seed: int, hasty: bool = False) -> Killed:
    """What came of killing a collection at work again and again; ends at the first loss."""
    generator, outcome, folder = random.Random(seed), Killed(), scratch / "c"
    Collection.create(folder, dim=8, fingerprint="f").close()
    done = [0] * THREADS
    with Forker("kills") as forker:
        while outcome.kills < kills and not outcome.lost:
            acks = 1 if hasty else generator.choice([-1, 0, 1, 2, 5, 10, 40])
            delay = 0 if hasty else generator.choice([0, generator.uniform(0, 0.02)])
            ready = _run_and_kill(forker, folder, done, acks, delay, hasty, outcome)
            outcome.kills += 1
            outcome.while_opening += not ready
    outcome.operations = sum(done)
    return outcome


def _run_and_kill(
    forker: Forker, folder: Path, done: list[int], acks: int, delay: float, hasty: bool, outcome: Killed
) -> bool:
    """Whether the child came to write before the kill; `done` then has what it kept and acknowledged."""
    lines = forker.run("kills:work", folder=str(folder), acknowledged=done, hasty=hasty)
    ready, seen = False, 0
    if acks < 0:
        time.sleep(delay)
        forker.kill()
    for word, *rest in lines:
        match word:
            case "kept":
                done[:], ready = map(int, rest), True
            case "ack":
                done[int(rest[0])] = int(rest[1]) + 1
                seen += 1
            case "lost":
                outcome.lost.append(f"kill {outcome.kills}: acknowledged {done}, found {rest}")
            case "end" if rest != ["-9"] and not outcome.lost:
                outcome.lost.append(
                    f"kill {outcome.kills}: the child ended with {rest[0]}, acknowledged {done}"
                )
        if ready and seen == max(acks, 0):
            time.sleep(delay)
            forker.kill()
            seen += 1_000_000
    return ready


def work_and_die(say: Say, folder: str, number: int, at: int, moment: str) -> None:
    """The job of a child: carries one operation out killed at its call `at`; says if it gets through."""
    hub = KillAt(0, moment)
    with FaultyFiles(hub) as files:
        session = Session(Path(folder), files)
        if number:
            session.open()
        hub.count, hub.at = 0, at
        session.carry_out(number)
        hub.at = 0
        say("through", hub.count)
        os._exit(0)


def kills_around_every_call(operations: range, scratch: Path, stride: int = 1, seed: int = 0) -> Swept:
    """A kill before, within and after every call of a script; raises AssertionError at the first loss."""
    with Forker("kills") as forker:

        def trial(folder: Path, number: int, call: int) -> bool:
            at, moment = divmod(call - 1, len(MOMENTS))
            arguments = {"number": number, "at": at + 1, "moment": MOMENTS[moment]}
            lines = list(forker.run("kills:work_and_die", folder=str(folder), **arguments))
            reached = lines[-1] == ["end", "-9"]
            if not reached and [line[0] for line in lines] != ["through", "end"]:
                raise AssertionError(f"{arguments}: the child said {lines}")
            check_after_kill(folder, number, arguments)
            return reached

        return sweep(operations, trial, scratch, stride, seed)


def check_after_kill(folder: Path, number: int, what: object) -> None:
    """Raises AssertionError unless the collection holds the state before or after operation `number`."""
    session = Session(folder, Files())
    try:
        session.open()
    except CollectionNotFound:
        if number:
            raise
        session.carry_out(0)  # creation was broken off: it can begin again
    state = held(session.collection)
    if state not in (expected(number), expected(number + 1)):
        raise AssertionError(f"{what}: acknowledged {number} operations, found another state")
    session.close()
    if kind(number) in PRODUCERS:
        check_products(folder, number)
