"""The health service beside gRPC's own: what its watchers hear, whatever one of them does."""

import asyncio
from typing import Any

import pytest
from grpc_health.v1 import health, health_pb2
from polylens.service.statuses import Statuses

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Watcher:
    """A caller's side of Watch; with `deaf` it never takes an answer."""

    def __init__(self, *, deaf: bool) -> None:
        self.deaf, self.heard = deaf, list[int]()

    async def write(self, response: Any) -> None:
        if self.deaf:
            await asyncio.Event().wait()
        self.heard.append(response.status)


async def heard_beside_a_deaf_one(servicer: Any, change: Any) -> list[int]:
    """What a watcher hears of a change to NOT_SERVING within half a second, while another takes nothing."""
    deaf, hearing = Watcher(deaf=True), Watcher(deaf=False)
    request = health_pb2.HealthCheckRequest()
    watches = [asyncio.create_task(servicer.Watch(request, one)) for one in (hearing, deaf)]
    await asyncio.sleep(0.1)
    changing = asyncio.create_task(change())
    await asyncio.sleep(0.5)
    for task in (*watches, changing):
        task.cancel()
    await asyncio.wait([*watches, changing])
    return hearing.heard


async def test_a_watcher_that_does_not_read_holds_nobody_up() -> None:
    ours = Statuses()
    ours.set([""], SERVING)

    async def change() -> None:
        ours.set([""], NOT_SERVING)

    assert await heard_beside_a_deaf_one(ours, change) == [SERVING, NOT_SERVING]
    # the control: the servicer of grpcio-health-checking writes to each watcher under one lock
    theirs = health.aio.HealthServicer()  # type: ignore[attr-defined]  # chosen at import
    assert await heard_beside_a_deaf_one(theirs, theirs.enter_graceful_shutdown) == [SERVING]


@pytest.mark.parametrize("watchers", [1, 2])
async def test_a_watcher_that_leaves_gives_its_place_back(watchers: int) -> None:
    statuses, request = Statuses(watchers), health_pb2.HealthCheckRequest(service="nobody")
    for _ in range(3):
        callers = [Watcher(deaf=False) for _ in range(watchers)]
        watches = [asyncio.create_task(statuses.Watch(request, one)) for one in callers]
        await asyncio.sleep(0.01)
        for task in watches:
            task.cancel()
        await asyncio.wait(watches)
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert [one.heard for one in callers] == [[unknown]] * watchers
