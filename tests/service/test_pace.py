"""What bulk may add to a batch depends on what an entry more costs, not on what a batch costs anyway."""

import asyncio
import time
from typing import Any

import pytest
from polylens.service import batching
from polylens.service.batching import Batcher
from polylens.service.pace import STEEP, Pace
from polylens.service.threads import Device

FIXED, EACH = 0.03, 0.0005  # seconds of a batch and of an entry: small batches are dear


def run(entries: list[int]) -> list[int]:
    time.sleep(FIXED + EACH * len(entries))
    return entries


async def sizes_of_bulk(canary: bool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches in which a long list ran while single entries kept coming."""
    monkeypatch.setattr(batching, "BULK_SECONDS", 0.02)
    ran, device = list[int](), Device()
    batcher = Batcher[int, int, int](lambda x: x, {device: run}, max_size=32, note=ran.append)
    batcher.start()

    async def others() -> None:
        while True:
            await batcher.submit(-1, canary=canary)

    task: asyncio.Task[Any] = asyncio.create_task(others())
    await asyncio.sleep(0.1)
    await batcher.submit_all(range(300))
    task.cancel()
    await batcher.close()
    await device.close()
    return ran


async def test_bulk_beside_single_callers_does_not_stay_at_batches_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert max(await sizes_of_bulk(canary=False, monkeypatch=monkeypatch)) >= 8


async def test_control_by_the_mean_cost_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "more", Pace.share)
    assert max(await sizes_of_bulk(canary=False, monkeypatch=monkeypatch)) < 8


async def test_a_canary_does_not_keep_batches_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "more", Pace.share)
    assert max(await sizes_of_bulk(canary=True, monkeypatch=monkeypatch)) >= 31


def of(*batches: tuple[int, float]) -> Pace:
    pace = Pace()
    for batch in batches:
        pace.note(*batch)
    return pace


def test_nothing_is_known_before_the_first_batch() -> None:
    assert (Pace().share, Pace().more) == (0.0, 0.0)


def test_the_line_through_batches_of_several_sizes() -> None:
    batches = [(size, 0.3 + 0.1 * size) for size in (1, 4, 9, 2)]
    assert of(*batches).more == pytest.approx(0.1)


@pytest.mark.parametrize("batches", [[(1, 0.3)], [(8, 0.8)] * 5, [(31, 1.0), (32, 2.0)]])
def test_like_sizes_say_only_what_an_entry_takes_on_the_whole(batches: list[tuple[int, float]]) -> None:
    pace = of(*batches)
    assert pace.more == pace.share > 0


def test_chance_has_bounds() -> None:
    faster = of((1, 0.5), (16, 0.4))
    assert faster.more == pytest.approx(faster.share / STEEP)
    steeper = of((1, 0.01), (16, 3.0))
    assert steeper.more == steeper.share
