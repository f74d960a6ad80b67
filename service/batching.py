"""Forms batches across callers: one `Batcher` for each kind of input that a model takes.

An entry is prepared (decoded, cut into tokens) in a pool of threads, waits in a queue, and runs with others
in one call on a device's own thread. Of the two queues the interactive one comes first; the bulk one gets
what is left of a batch, and never less than a share of it. A deadline is a cancellation: callers wrap
`submit` in `time_limit`, and what nobody waits for any more, or what would come too late, costs nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Generic, TypeVar

from . import deadline
from .admission import Admission
from .errors import DeadlineExpired, NotReady
from .pace import Pace
from .records import Done
from .threads import STOPPING, Device, Threads

Raw = TypeVar("Raw")
Ready = TypeVar("Ready")
Out = TypeVar("Out")
logger = logging.getLogger(__name__)
Run = Callable[[list[Ready]], Sequence[Out | Exception]]

FEW = 8  # entries of one request that still count as interactive
BULK_SHARE = 8  # every batch that many entries long has one of bulk, if any waits
BULK_SECONDS = 0.1  # what bulk may add to a batch while interactive callers are about
ABOUT = 5.0  # seconds after its last entry that an interactive caller counts as about
RESTART_SECONDS = 0.05  # before another worker begins
LOOKAHEAD = 4  # batches in which entries of like size are sought


@dataclass(eq=False, slots=True)
class _Job(Generic[Ready, Out]):
    ready: Ready
    size: int
    prepare: float
    arrived: float
    end: float
    future: asyncio.Future[Done[Out]]
    bulk: bool
    begun: int = 0  # how many workers ended over it


class Batcher(Generic[Raw, Ready, Out]):
    """Runs batches of at most `max_size`; an entry waits at most `max_wait` seconds for company.

    At most `max_pending` entries are inside at a time, and of the interactive no more than can be answered
    within `max_delay` seconds, or than a few. `lanes` has what runs a batch on each device: it maps
    a list to a list of the same length; an exception in place of a result is the fault of that entry alone.
    `size` is what an entry costs (tokens, pixels); a batch is padded to its largest, and costs at most
    `budget`.
    """

    def __init__(
        self,
        prepare: Callable[[Raw], Ready],
        lanes: Mapping[Device, Run[Ready, Out]],
        *,
        workers: int = 1,
        max_size: int = 32,
        max_wait: float = 0.002,
        max_pending: int = 512,
        max_delay: float = float("inf"),
        size: Callable[[Ready], int] = lambda _: 1,
        budget: float = float("inf"),
        note: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._prepare, self._lanes, self._size, self._note = prepare, lanes, size, note
        self._workers, self.admission = Threads(workers, "prepare"), Admission(max_pending)
        self._max_size, self._max_wait, self._budget = max_size, max_wait, budget
        self._max_delay = max_delay
        # In order of arrival; leaving early is O(1).
        self._interactive: dict[_Job[Ready, Out], None] = {}
        self._bulk: dict[_Job[Ready, Out], None] = {}
        self._hurried = 0  # interactive entries inside
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.restarts = 0
        self._pace = Pace()

    def start(self) -> None:
        """Begin to run batches."""
        self._tasks = [asyncio.create_task(self._supervise(*lane)) for lane in self._lanes.items()]

    async def close(self) -> None:
        """Stop running batches; whoever still waits gets `NotReady`."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._fail([*self._interactive, *self._bulk], NotReady(STOPPING))
        await self._workers.close()

    @property
    def waiting(self) -> tuple[int, int]:
        """How many prepared entries wait, interactive and bulk."""
        return len(self._interactive), len(self._bulk)

    async def submit(self, raw: Raw, *, bulk: bool = False, canary: bool = False) -> Done[Out]:
        """What a batch gives for one entry; raises what went wrong with it, or `Overloaded`.

        A canary comes as soon as interactive entries do, but is nobody for whom bulk is kept short.
        """
        with self._admitted(1, bulk):
            return await self._pass(raw, bulk, about=not (bulk or canary))

    async def submit_all(self, raws: Sequence[Raw], *, bulk: bool = False) -> list[Done[Out] | BaseException]:
        """A result or an exception for each entry, in order; raises `Overloaded` unless all have room."""
        window = asyncio.Semaphore(2 * self._max_size)  # a long list leaves room between for others
        bulk = bulk or len(raws) > FEW

        async def one(raw: Raw) -> Done[Out]:
            async with window:
                return await self._pass(raw, bulk, about=not bulk)

        with self._admitted(len(raws), bulk):
            return await asyncio.gather(*map(one, raws), return_exceptions=True)

    @contextmanager
    def _admitted(self, count: int, bulk: bool) -> Iterator[None]:
        self._require_worker()
        ahead = None if bulk else self._hurried  # bulk that is inside does not hold up the interactive
        crowded = ahead is not None and ahead >= FEW
        end = min(deadline.end(), time.monotonic() + self._max_delay) if crowded else deadline.end()
        try:
            with self.admission.entering(count, end, ahead):
                self._hurried += 0 if bulk else count
                try:
                    yield
                finally:
                    self._hurried -= 0 if bulk else count
        finally:
            self._changed.set()

    def _require_worker(self) -> None:
        if not self._tasks or any(task.done() for task in self._tasks):
            raise NotReady("no batches are being run")

    async def _pass(self, raw: Raw, bulk: bool, about: bool) -> Done[Out]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ready = await self._workers.run(self._prepare, raw)
        self._require_worker()
        now = loop.time()
        job = _Job[Ready, Out](
            ready, self._size(ready), now - begun, now, deadline.end(), loop.create_future(), bulk
        )
        queue = self._bulk if bulk else self._interactive
        queue[job] = None
        if about:
            for device in self._lanes:
                device.last_interactive = now
        self._changed.set()
        try:
            return await job.future
        finally:
            queue.pop(job, None)  # a caller that gave up takes its entry along

    async def _supervise(self, device: Device, run: Run[Ready, Out]) -> None:
        """Begins to work again when the worker ends by a fault of its own."""
        while True:
            try:
                await self._work(device, run)
            except Exception:
                self.restarts += 1
                logger.exception("the worker of a batcher ended; another one begins")
                await asyncio.sleep(RESTART_SECONDS)

    async def _work(self, device: Device, run: Run[Ready, Out]) -> None:
        while True:
            await self._company()
            async with device.turn:  # a batch is formed when the device is free, so as late as possible
                jobs = self._batch(device)
                try:
                    for group in _apart(jobs):
                        try:
                            await self._solve(group, device, run)
                        except Exception as error:
                            self._begin_again(group, jobs, error)
                            raise
                finally:
                    self._fail([job for job in jobs if not self._waits(job)], NotReady(STOPPING))

    def _begin_again(
        self, group: Sequence[_Job[Ready, Out]], jobs: Iterable[_Job[Ready, Out]], error: Exception
    ) -> None:
        """Leaves to the next worker what this one has not answered; what ended two of them is refused."""
        for job in group:
            job.begun += 1
        self._fail((job for job in group if job.begun > 1), error)
        for job in jobs:
            if not job.future.done():
                (self._bulk if job.bulk else self._interactive)[job] = None

    def _waits(self, job: _Job[Ready, Out]) -> bool:
        return job in self._interactive or job in self._bulk

    async def _company(self) -> None:
        """Returns when a batch is full, all inside have arrived, or the first has waited `max_wait`."""
        while not (self._interactive or self._bulk):
            self._changed.clear()
            await self._changed.wait()
        oldest = min(next(iter(queue)).arrived for queue in (self._interactive, self._bulk) if queue)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(oldest + self._max_wait):
                while 0 < sum(self.waiting) < min(self._max_size, self.admission.inside):
                    self._changed.clear()
                    await self._changed.wait()

    def _batch(self, device: Device) -> list[_Job[Ready, Out]]:
        """Takes the entries of the next batch out of the queues; of those that come too late, none."""
        now = asyncio.get_running_loop().time()
        most = most_bulk = self._max_size
        more = self._pace.more
        if more and now < device.last_interactive + ABOUT:
            most_bulk = min(most, max(1, int(BULK_SECONDS / more)))
        reserved = min(-(-most // BULK_SHARE), most_bulk) if self._bulk and most > 1 else 0
        chosen = self._alike(self._interactive, most - reserved)
        chosen += self._alike(self._bulk, min(most - len(chosen), most_bulk), chosen)
        for job in chosen:
            self._interactive.pop(job, None)
            self._bulk.pop(job, None)
        late = [job for job in chosen if job.end < now + self._pace.share]
        if len(late) < len(chosen):  # else they run: one entry that was slow must not be the last one ever
            self._fail(late, DeadlineExpired("the time was over before a device was free"))
        return [job for job in chosen if not job.future.done()]

    def _alike(
        self,
        queue: dict[_Job[Ready, Out], None],
        most: int,
        company: Sequence[_Job[Ready, Out]] = (),
    ) -> list[_Job[Ready, Out]]:
        """The first entry of the queue and at most `most` in all of a size like its, within the budget."""
        waiting = list(islice(queue, LOOKAHEAD * self._max_size))
        if not waiting or most < 1:
            return []
        middle = (company or waiting)[0].size
        first = sorted(waiting[1:], key=lambda job: abs(job.size - middle))
        chosen: list[_Job[Ready, Out]] = []
        largest = max((job.size for job in company), default=0)
        for job in islice(chain(waiting[:1], first), most):
            largest = max(largest, job.size)
            alone = not chosen and not company
            if not alone and largest * (len(company) + len(chosen) + 1) > self._budget:
                break
            chosen.append(job)
        return chosen

    async def _solve(self, jobs: list[_Job[Ready, Out]], device: Device, run: Run[Ready, Out]) -> None:
        """Answers every job; a batch that fails is halved until the faulty entry is alone."""
        jobs = [job for job in jobs if not job.future.done()]
        if not jobs:
            return
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._note(len(jobs))
        try:
            values = await device.batch(run, [job.ready for job in jobs])
        except Exception as error:
            if len(jobs) == 1:
                return self._fail(jobs, in_words(error))
            await self._solve(jobs[: len(jobs) // 2], device, run)
            return await self._solve(jobs[len(jobs) // 2 :], device, run)
        seconds = loop.time() - begun
        self._pace.note(len(jobs), seconds)
        for job, value in zip(jobs, values, strict=True):
            if isinstance(value, Exception):
                self._fail([job], value)
            elif not job.future.done():
                job.future.set_result(Done(value, job.prepare, begun - job.arrived, seconds))

    def _fail(self, jobs: Iterable[_Job[Ready, Out]], error: Exception) -> None:
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)


def _apart(jobs: Sequence[_Job[Ready, Out]]) -> list[list[_Job[Ready, Out]]]:
    """All of them together, but each alone over which a worker has ended before."""
    return [[job for job in jobs if not job.begun], *([job] for job in jobs if job.begun)]


def in_words(error: Exception) -> Exception:
    """The error, or `MemoryError` in place of what torch raises where a device has no room."""
    full = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return MemoryError(str(error)) if full else error
