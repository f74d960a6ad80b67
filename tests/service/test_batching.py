"""Batches form across callers, and nothing that one caller does harms another."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from polylens.service.batching import Batcher, _Job
from polylens.service.errors import NotReady, Overloaded
from polylens.service.status import told
from polylens.service.threads import Device


class Model:
    """Doubles numbers; refuses those in `poison`; waits while `gate` is closed; remembers its batches."""

    def __init__(self, poison: Sequence[int] = ()) -> None:
        self.poison = set(poison)
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, entries: list[int]) -> list[int]:
        self.entered.set()
        self.gate.wait(10)
        self.batches.append(entries)
        if bad := self.poison & set(entries):
            raise ValueError(f"poison {sorted(bad)}")
        return [2 * entry for entry in entries]

    async def busy(self) -> None:
        """Returns when a batch is running; it stays so until `gate` is opened."""
        await asyncio.to_thread(self.entered.wait, 10)


@asynccontextmanager
async def batching(
    run: Callable[[list[Any]], Any],
    kind: type[Batcher] = Batcher,
    prepare: Callable[[Any], Any] = lambda x: x,
    **how: Any,
) -> AsyncIterator[Batcher[Any, Any, Any]]:
    device = Device()
    batcher = kind(prepare, {device: run}, **how)
    batcher.start()
    try:
        yield batcher
    finally:
        await batcher.close()
        await device.close()


async def outcomes(batcher: Batcher[Any, Any, Any], entries: Sequence[Any]) -> list[Any]:
    """What each of several callers gets."""
    done = await asyncio.gather(*map(batcher.submit, entries), return_exceptions=True)
    return [one.value if hasattr(one, "value") else one for one in done]


async def hold(batcher: Batcher[Any, Any, Any], model: Model) -> asyncio.Task[Any]:
    """A call that keeps the device busy until `model.gate` is opened."""
    model.gate.clear()
    task = asyncio.create_task(batcher.submit(0))
    await model.busy()
    return task


async def test_every_caller_gets_its_own_result_in_order() -> None:
    async with batching(Model(), max_size=7, workers=3) as batcher:
        assert await outcomes(batcher, range(100)) == [2 * i for i in range(100)]
        done = await batcher.submit_all(range(300))
        assert [one.value for one in done] == [2 * i for i in range(300)]


async def test_callers_share_batches() -> None:
    model = Model()
    async with batching(model, max_size=8) as batcher:
        await outcomes(batcher, range(32))
    assert max(map(len, model.batches)) == 8
    assert len(model.batches) <= 8


async def test_control_without_sharing_every_caller_has_a_batch() -> None:
    model = Model()
    async with batching(model, max_size=1) as batcher:
        await outcomes(batcher, range(32))
    assert len(model.batches) == 32


async def test_a_lone_caller_does_not_wait_for_company() -> None:
    async with batching(Model(), max_wait=5.0) as batcher:
        begun = time.monotonic()
        await batcher.submit(1)
        assert time.monotonic() - begun < 1


async def test_company_that_does_not_come_is_not_waited_for_longer_than_max_wait() -> None:
    slow = threading.Event()
    async with batching(
        Model(), prepare=lambda x: x == 2 and slow.wait(10), max_wait=0.05, workers=2
    ) as batcher:
        late = asyncio.create_task(batcher.submit(2))  # being prepared, so company is expected
        await asyncio.sleep(0.01)
        done = await asyncio.wait_for(batcher.submit(1), 2)
        assert 0.03 < done.queue < 1
        assert not late.done()
        slow.set()
        await late


@pytest.mark.parametrize("gone", [0, 1])
async def test_cancel_one_of_two_in_a_running_batch_and_the_other_returns(gone: int) -> None:
    model = Model()
    async with batching(model, max_wait=0.2) as batcher:
        model.gate.clear()
        callers = [asyncio.create_task(batcher.submit(i)) for i in (1, 2)]
        await model.busy()
        callers[gone].cancel()
        await asyncio.sleep(0)
        model.gate.set()
        assert (await asyncio.wait_for(callers[1 - gone], 2)).value == 2 * (2 - gone)
        assert callers[gone].cancelled()
        assert (await batcher.submit(5)).value == 10
    assert sorted(model.batches[0]) == [1, 2]  # they did share it


async def test_what_is_cancelled_in_the_queue_costs_nothing() -> None:
    model = Model()
    async with batching(model) as batcher:
        first = await hold(batcher, model)
        waiting = [asyncio.create_task(batcher.submit(i)) for i in (1, 2, 3)]
        await asyncio.sleep(0.05)
        waiting[1].cancel()
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, waiting[0], waiting[2])
    assert sorted(entry for batch in model.batches for entry in batch) == [0, 1, 3]


async def test_what_expires_in_the_queue_costs_nothing_and_its_caller_hears_in_time() -> None:
    model = Model()
    async with batching(model) as batcher:
        first = await hold(batcher, model)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await batcher.submit(7)
        assert time.monotonic() - begun < 1
        model.gate.set()
        await first
        await batcher.submit(1)
    assert 7 not in [entry for batch in model.batches for entry in batch]


async def test_an_error_reaches_everyone_it_concerns() -> None:
    def broken(entries: list[int]) -> list[int]:
        raise ValueError(f"no {entries}")

    async with batching(broken, max_size=4) as batcher:
        assert [str(error) for error in await outcomes(batcher, range(4))] == [f"no [{i}]" for i in range(4)]


class Careless(Batcher[Any, Any, Any]):
    """The control: a batch that fails fails for everyone in it."""

    async def _solve(self, jobs: list[_Job[Any, Any]], device: Device, run: Any) -> None:
        try:
            values = await device.batch(run, [job.ready for job in jobs])
        except Exception as error:
            return self._fail(jobs, error)
        for job, value in zip(jobs, values, strict=True):
            job.future.set_result(value)


async def poisoned(kind: type[Batcher[Any, Any, Any]], position: int) -> list[Any]:
    async with batching(Model(poison=[position]), kind, max_size=8, max_wait=0.5) as batcher:
        return await outcomes(batcher, range(8))


@pytest.mark.parametrize("position", range(8))
async def test_poison_at_any_place_of_a_batch_harms_nobody_else(position: int) -> None:
    got = await poisoned(Batcher, position)
    assert isinstance(got.pop(position), ValueError)
    assert got == [2 * i for i in range(8) if i != position]


async def test_control_a_careless_batcher_harms_the_neighbours() -> None:
    got = await poisoned(Careless, 3)
    assert sum(isinstance(one, ValueError) for one in got) > 1


async def test_several_poisonous_entries() -> None:
    async with batching(Model(poison=[0, 3, 4, 7]), max_size=8, max_wait=0.5) as batcher:
        got = await outcomes(batcher, range(8))
    assert [one for one in got if not isinstance(one, ValueError)] == [2, 4, 10, 12]


async def test_an_exception_in_place_of_a_result_concerns_that_entry_alone() -> None:
    async with batching(lambda entries: [ValueError() if e == 2 else e for e in entries]) as batcher:
        got = await outcomes(batcher, range(4))
    assert isinstance(got[2], ValueError) and got[:2] + got[3:] == [0, 1, 3]


async def test_an_entry_that_cannot_be_prepared_concerns_its_caller_alone() -> None:
    async with batching(Model(), prepare=lambda x: 6 // x) as batcher:
        got = await outcomes(batcher, [1, 0, 3])
    assert isinstance(got[1], ZeroDivisionError) and (got[0], got[2]) == (12, 4)


@pytest.mark.parametrize("fault", [RuntimeError, MemoryError, SystemExit, KeyboardInterrupt])
async def test_no_error_ends_the_worker_or_the_event_loop(fault: type[BaseException]) -> None:
    def run(entries: list[int]) -> list[int]:
        if 1 in entries:
            raise fault
        return entries

    async with batching(run) as batcher:
        with pytest.raises((RuntimeError, MemoryError)):
            await batcher.submit(1)
        assert (await batcher.submit(2)).value == 2


class Fragile(Batcher[Any, Any, Any]):
    """A worker of it ends, by a fault of its own, over the entries 13 and, the first time only, 7."""

    seen = 0

    async def _solve(self, jobs: Any, device: Device, run: Any) -> None:
        ready = [job.ready for job in jobs]
        self.seen += 7 in ready
        if 13 in ready or (7 in ready and self.seen == 1):
            raise LookupError("a bug in the worker")
        await super()._solve(jobs, device, run)


async def test_a_worker_that_ends_is_replaced_and_its_batch_run_once_more() -> None:
    async with batching(Model(), Fragile, max_size=8, max_wait=0.2) as batcher:
        assert await asyncio.wait_for(outcomes(batcher, range(5, 11)), 10) == [10, 12, 14, 16, 18, 20]
        assert batcher.restarts == 1 and batcher.waiting == (0, 0) and batcher.admission.inside == 0


async def test_only_the_entry_over_which_two_workers_end_fails() -> None:
    async with batching(Model(), Fragile, max_size=8, max_wait=0.2) as batcher:
        got = await asyncio.wait_for(outcomes(batcher, [1, 2, 13, 3]), 10)
        assert isinstance(got.pop(2), LookupError) and got == [2, 4, 6]
        assert batcher.restarts == 2 and (await batcher.submit(4)).value == 8


async def test_control_without_supervision_one_fault_ends_all_work() -> None:
    class Unsupervised(Fragile):
        async def _supervise(self, device: Device, run: Any) -> None:
            await self._work(device, run)

    async with batching(Model(), Unsupervised, max_wait=0.2) as batcher:
        with pytest.raises((LookupError, TimeoutError, NotReady)):
            await asyncio.wait_for(batcher.submit(7), 0.5)
        with pytest.raises(NotReady):
            await batcher.submit(1)


class OutOfMemoryError(RuntimeError):
    """What torch raises, by name."""


async def test_a_batch_too_large_for_the_memory_is_halved_and_one_too_large_entry_is_told_so() -> None:
    def run(entries: list[int]) -> list[int]:
        if len(entries) > 3 or 99 in entries:
            raise OutOfMemoryError("no room")
        return [2 * entry for entry in entries]

    async with batching(run, max_size=8, max_wait=0.2) as batcher:
        assert await outcomes(batcher, range(8)) == [2 * i for i in range(8)]
        got = await outcomes(batcher, [1, 99, 2])
        assert isinstance(got.pop(1), MemoryError) and got == [2, 4]  # which is RESOURCE_EXHAUSTED
        assert told(MemoryError("no room"))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_model_that_loses_an_entry_is_an_error_and_not_a_wait_for_ever() -> None:
    async with batching(lambda entries: entries[:-1]) as batcher:
        with pytest.raises(RuntimeError, match="0 results for 1"):
            await asyncio.wait_for(batcher.submit(1), 2)


async def test_beyond_the_bound_callers_are_refused_at_once_and_told_when_to_return() -> None:
    model = Model()
    async with batching(model, max_pending=4) as batcher:
        first = await hold(batcher, model)
        waiting = [asyncio.create_task(batcher.submit(i)) for i in (1, 2, 3)]
        await asyncio.sleep(0)
        # The first step of the coroutine refuses: it waits for nothing, not even for a turn of the loop.
        with pytest.raises(Overloaded, match="4 entries are under way and 4 may be") as refused:
            batcher.submit(9).send(None)
        with pytest.raises(Overloaded):
            batcher.submit_all([9]).send(None)
        assert refused.value.retry_after > 0
        waiting[0].cancel()
        await asyncio.sleep(0)
        waiting[0] = asyncio.create_task(batcher.submit(4))  # the place of one who left is free at once
        model.gate.set()
        await asyncio.gather(first, *waiting)
        assert (await batcher.submit(9)).value == 18


async def test_a_list_is_admitted_wholly_or_not_at_all() -> None:
    model = Model()
    async with batching(model, max_pending=4) as batcher:
        with pytest.raises(Overloaded):
            await batcher.submit_all([1, 2, 3, 4, 5])
        assert len(await batcher.submit_all([1, 2, 3, 4])) == 4
    assert 5 not in [entry for batch in model.batches for entry in batch]


async def test_a_long_list_leaves_room_for_others() -> None:
    model = Model()
    async with batching(model, max_size=4) as batcher:
        first = await hold(batcher, model)
        long = asyncio.create_task(batcher.submit_all(range(100, 200)))
        await asyncio.sleep(0.05)
        short = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.05)
        model.gate.set()
        await asyncio.gather(first, long, short)
    place = next(i for i, batch in enumerate(model.batches) if 1 in batch)
    assert place <= 4  # behind at most twice max_size entries of the list, not behind all 100


async def test_closing_answers_everyone_who_waits() -> None:
    model = Model()
    async with batching(model) as batcher:
        first = await hold(batcher, model)
        second = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(batcher.close())
        for caller in (first, second):
            with pytest.raises(NotReady):
                await asyncio.wait_for(caller, 2)
        model.gate.set()
        await closing
        with pytest.raises(NotReady):
            await batcher.submit(3)


async def test_closing_answers_those_whose_entries_are_being_prepared() -> None:
    slow = threading.Event()
    async with batching(Model(), prepare=lambda x: slow.wait(10)) as batcher:
        callers = [asyncio.create_task(batcher.submit(i)) for i in range(3)]  # one begun, two waiting
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.05)
        slow.set()
        done = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 2)
        assert [type(one) for one in done] == [NotReady] * 3
        await closing


async def test_random_cancellations_leave_nothing_behind() -> None:
    random.seed(7)
    tasks_before = len(asyncio.all_tasks())
    async with batching(
        lambda entries: [time.sleep(0.0005), *entries][1:], max_size=8, max_pending=5000
    ) as batcher:
        callers = []
        for i in range(600):
            callers.append(asyncio.create_task(batcher.submit(i)))
            if i % 20 == 0:
                await asyncio.sleep(0)
            if random.random() < 0.5:
                random.choice(callers).cancel()
        done = await asyncio.gather(*callers, return_exceptions=True)
        kept = [one.value for one in done if not isinstance(one, BaseException)]
        assert all(i == one.value for i, one in enumerate(done) if not isinstance(one, BaseException))
        assert 50 < len(kept) < 600
        await asyncio.sleep(0.01)
        assert (batcher.admission.inside, batcher.waiting) == (0, (0, 0))
    assert len(asyncio.all_tasks()) == tasks_before


async def test_two_batchers_take_turns_on_one_device() -> None:
    running, most = 0, 0

    def run(entries: list[int]) -> list[int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.001)
        running -= 1
        return entries

    device = Device()
    pair = [Batcher[int, int, int](lambda x: x, {device: run}, max_size=2) for _ in range(2)]
    for batcher in pair:
        batcher.start()
    await asyncio.gather(*(batcher.submit_all(range(40)) for batcher in pair))
    for batcher in pair:
        await batcher.close()
    await device.close()
    assert most == 1
