"""A fault at every call of every operation: each starts again from a copy of what was before it."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from polylens.index.files import Files

from .script import Session

Trial = Callable[
    [Path, int, int], bool
]  # folder, operation, which call -> did the operation come to that call?


@dataclass
class Swept:
    operations: int = 0
    faults: int = 0


def sweep(operations: range, trial: Trial, scratch: Path, stride: int = 1, seed: int = 0) -> Swept:
    """How many of these operations were tried with how many faults, one about every `stride` calls."""
    generator, swept = random.Random(seed), Swept()
    session = Session(scratch / "base" / "c", Files())
    session.folder.parent.mkdir()
    for number in range(operations.stop):
        call, reached = 0, number in operations
        while reached:
            call += generator.randint(1, 2 * stride - 1)
            copy = scratch / "copy"
            shutil.copytree(session.folder.parent, copy)
            reached = trial(copy / "c", number, call)
            swept.faults += reached
            shutil.rmtree(copy)
        session.carry_out(number)
        swept.operations += number in operations
    session.close()
    return swept
