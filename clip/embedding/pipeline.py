"""The stages of a job in one process, each ahead of the next: read | decode | batch, then the caller's model.

Reading and batching run in a thread, decoding in `workers` processes. What is in memory are three batches and
the samples between them, whatever the size of a unit.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from ...errors import PolylensError
from ..batches import ahead, buffered
from .encode import Batch, batches
from .plan import Plan, claim
from .samples import Prepared, Reject, Sample
from .settings import Unit
from .shards import Shard


@dataclass(frozen=True, slots=True)
class Begin:
    """What follows belongs to this unit, which `release` gives back."""

    unit: Unit
    release: Callable[[], object]


@dataclass(frozen=True, slots=True)
class End:
    """The unit is complete, or cannot be: its source failed with this error."""

    error: Exception | None = None


Prepare = Callable[[Sample | Reject], Prepared | Reject]


def staged(
    plan: Plan, numbers: Iterable[int], prepare: Prepare, claims: ExitStack, *, workers: int, pin: bool
) -> Generator[Begin | Batch | End]:
    """Begin, batches and End of each unit that is neither done nor another's, one unit after the other.

    `claims` gives back what was claimed and never got to the caller.
    """

    def step(one: Begin | End | Sample | Reject) -> Begin | End | Prepared | Reject:
        if isinstance(one, Begin | End):
            return one
        try:
            return prepare(one)
        except OSError as error:
            return End(error)

    incoming = ahead(
        step,
        read_units(plan, numbers, claims),
        workers=workers,
        most=max(plan.settings.batch_size, 2 * workers),
    )
    return buffered(_batched(incoming, plan, pin=pin), 1)


def read_units(
    plan: Plan, numbers: Iterable[int], claims: ExitStack
) -> Iterator[Begin | Sample | Reject | End]:
    """The samples of the units, between Begin and End."""
    for number in numbers:
        release = claim(plan.out, number)
        if release is None:
            continue
        claims.callback(release)
        if Shard(plan.out, number, len(plan)).done():
            release()
            continue
        unit = plan.unit(number)
        yield Begin(unit, release)
        try:
            yield from plan.read(unit)
        except (OSError, PolylensError) as error:
            yield End(error)
        else:
            yield End()


def _batched(
    incoming: Iterator[Begin | End | Prepared | Reject], plan: Plan, *, pin: bool
) -> Iterator[Begin | Batch | End]:
    for one in incoming:
        if not isinstance(one, Begin):
            continue  # the rest of a unit that failed
        yield one
        ends: list[End] = []
        yield from batches(_until_end(incoming, ends), plan.settings, pin=pin)
        yield ends[0]


def _until_end(
    incoming: Iterator[Begin | End | Prepared | Reject], ends: list[End]
) -> Iterator[Prepared | Reject]:
    for one in incoming:
        if isinstance(one, End):
            ends.append(one)
            return
        if not isinstance(one, Begin):
            yield one
