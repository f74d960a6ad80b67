"""Forms batches across callers: one `Batcher` for each kind of input that a model takes.

An entry is prepared (decoded, cut into tokens) in a pool of threads, waits in a queue, and runs with others
in one call on the device's own thread. A deadline is a cancellation: callers wrap `submit` in
`asyncio.timeout`, and what nobody waits for any more costs nothing.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from .admission import Admission
from .errors import NotReady
from .records import Done
from .threads import STOPPING, Device, Threads

Raw = TypeVar("Raw")
Ready = TypeVar("Ready")
Out = TypeVar("Out")


@dataclass(eq=False, slots=True)
class _Job(Generic[Ready, Out]):
    ready: Ready
    prepare: float
    arrived: float
    future: asyncio.Future[Done[Out]]


class Batcher(Generic[Raw, Ready, Out]):
    """Runs batches of at most `max_size`; an entry waits at most `max_wait` seconds for company.

    At most `max_pending` entries are inside at a time. `run` maps a list to a list of the same length; an
    exception in place of a result is the fault of that entry alone.
    """

    def __init__(
        self,
        prepare: Callable[[Raw], Ready],
        run: Callable[[list[Ready]], Sequence[Out | Exception]],
        device: Device,
        *,
        workers: int = 1,
        max_size: int = 32,
        max_wait: float = 0.002,
        max_pending: int = 512,
    ) -> None:
        self._prepare, self._run = prepare, run
        self._workers, self._device = Threads(workers, "prepare"), device
        self._max_size, self._max_wait, self._admission = max_size, max_wait, Admission(max_pending)
        self._queue: dict[_Job[Ready, Out], None] = {}  # in order of arrival; leaving it early is O(1)
        self._changed = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to run batches."""
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop running batches; whoever still waits gets `NotReady`."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        self._fail(self._queue, NotReady(STOPPING))
        await self._workers.close()

    async def submit(self, raw: Raw) -> Done[Out]:
        """What `run` gives for one entry; raises what `prepare` or `run` raised for it, or `Overloaded`."""
        with self._admitted(1):
            return await self._pass(raw)

    async def submit_all(self, raws: Sequence[Raw]) -> list[Done[Out] | BaseException]:
        """A result or an exception for each entry, in order; raises `Overloaded` unless all have room."""
        window = asyncio.Semaphore(2 * self._max_size)  # a long list leaves room between for others

        async def one(raw: Raw) -> Done[Out]:
            async with window:
                return await self._pass(raw)

        with self._admitted(len(raws)):
            return await asyncio.gather(*map(one, raws), return_exceptions=True)

    @contextmanager
    def _admitted(self, count: int) -> Iterator[None]:
        self._require_worker()
        try:
            with self._admission.entering(count):
                yield
        finally:
            self._changed.set()

    def _require_worker(self) -> None:
        if self._worker is None or self._worker.done():
            raise NotReady("no batches are being run")

    async def _pass(self, raw: Raw) -> Done[Out]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ready = await self._workers.run(self._prepare, raw)
        self._require_worker()
        job = _Job[Ready, Out](ready, loop.time() - begun, loop.time(), loop.create_future())
        self._queue[job] = None
        self._changed.set()
        try:
            return await job.future
        finally:
            self._queue.pop(job, None)  # a caller that gave up takes its entry along

    async def _work(self) -> None:
        while True:
            await self._company()
            async with self._device.turn:  # a batch is formed when the device is free, so as late as possible
                jobs = list(islice(self._queue, self._max_size))
                for job in jobs:
                    del self._queue[job]
                try:
                    await self._solve(jobs)
                finally:
                    self._fail(jobs, NotReady(STOPPING))

    async def _company(self) -> None:
        """Returns when a batch is full, all inside have arrived, or the first has waited `max_wait`."""
        while not self._queue:
            self._changed.clear()
            await self._changed.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(next(iter(self._queue)).arrived + self._max_wait):
                while 0 < len(self._queue) < min(self._max_size, self._admission.inside):
                    self._changed.clear()
                    await self._changed.wait()

    async def _solve(self, jobs: list[_Job[Ready, Out]]) -> None:
        """Answers every job; a batch that fails is halved until the faulty entry is alone."""
        jobs = [job for job in jobs if not job.future.done()]
        if not jobs:
            return
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            values = await self._device.batch(self._run, [job.ready for job in jobs])
        except Exception as error:
            if len(jobs) == 1:
                return self._fail(jobs, error)
            await self._solve(jobs[: len(jobs) // 2])
            return await self._solve(jobs[len(jobs) // 2 :])
        run = loop.time() - begun
        for job, value in zip(jobs, values, strict=True):
            if isinstance(value, Exception):
                self._fail([job], value)
            elif not job.future.done():
                job.future.set_result(Done(value, job.prepare, begun - job.arrived, run))

    def _fail(self, jobs: Iterable[_Job[Ready, Out]], error: Exception) -> None:
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)
