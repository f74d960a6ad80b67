"""Who may come in is decided by what those before took, but not by the first few, and not by bulk."""

import asyncio
import time

import pytest
from polylens.service import admission as module
from polylens.service.admission import Admission
from polylens.service.batching import FEW, Batcher
from polylens.service.deadline import time_limit
from polylens.service.errors import Overloaded
from polylens.service.threads import Device


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def after(leavers: int, seconds: float) -> tuple[Admission, Clock]:
    """An admission that so many have left, one after the other, after so many seconds each."""
    clock = Clock()
    admission = Admission(1000, clock=clock)
    for _ in range(leavers):
        with admission.entering(1):
            clock.now += seconds
    return admission, clock


def test_whoever_would_come_too_late_is_told_when_to_return() -> None:
    admission, clock = after(100, 0.1)
    with admission.entering(50):
        admission.require(1, before=clock.now + 5.1)
        with pytest.raises(Overloaded, match="would be too long") as refused:
            admission.require(1, before=clock.now + 4.9)
        assert refused.value.retry_after == pytest.approx(5.0)


def test_the_slow_start_of_a_server_turns_nobody_away(monkeypatch: pytest.MonkeyPatch) -> None:
    admission, clock = after(2, 1.0)  # two probes, before anything is warm
    with admission.entering(200):
        admission.require(1, before=clock.now + 10)
        monkeypatch.setattr(module, "ENOUGH", 1)  # the control
        with pytest.raises(Overloaded):
            admission.require(1, before=clock.now + 10)


def test_what_does_not_stand_ahead_does_not_count() -> None:
    admission, clock = after(100, 0.1)
    with admission.entering(200):
        admission.require(1, before=clock.now + 2, ahead=10)
        with pytest.raises(Overloaded):  # the control
            admission.require(1, before=clock.now + 2)
        with pytest.raises(Overloaded, match="1000 may be"):  # room is needed all the same
            admission.require(801, ahead=0)


async def test_bulk_inside_does_not_turn_interactive_callers_away() -> None:
    def run(entries: list[int]) -> list[int]:
        time.sleep(0.01 * len(entries))
        return entries

    device = Device()
    batcher = Batcher[int, int, int](lambda x: x, {device: run}, max_size=4)
    batcher.start()
    for _ in range(20):  # now the pace is known
        await batcher.submit(1)
    bulk = asyncio.create_task(batcher.submit_all(range(300)))
    await asyncio.sleep(0.1)
    async with time_limit(1.5):
        assert (await batcher.submit(7)).value == 7
        with pytest.raises(Overloaded, match="would be too long"):  # the control: more bulk does wait
            await batcher.submit_all(range(9))
    bulk.cancel()
    await batcher.close()
    await device.close()


async def test_a_crowd_is_turned_away_before_the_wait_grows_long() -> None:
    def run(entries: list[int]) -> list[int]:
        time.sleep(0.01 * len(entries))
        return entries

    async def answered(**how: float) -> int:
        device = Device()
        batcher = Batcher[int, int, int](lambda x: x, {device: run}, max_size=4, **how)
        batcher.start()
        for _ in range(20):
            await batcher.submit(1)
        done = await asyncio.gather(*map(batcher.submit, range(60)), return_exceptions=True)
        await batcher.close()
        await device.close()
        assert all(isinstance(one, Overloaded) or one.value in range(60) for one in done)
        return sum(not isinstance(one, Overloaded) for one in done)

    assert FEW <= await answered(max_delay=0.1) < 40
    assert await answered(max_delay=0.0) == FEW  # a few may always wait
    assert await answered() == 60  # the control
