"""Calls given up at any moment, and deadlines that are too short: nothing of them may stay behind."""

import asyncio
from random import Random

import grpc
from polylens.service.client import AsyncClient
from polylens.service.errors import BatchError, RemoteError

from .load import Callers, prepare
from .process import Holdings, Process
from .report import Report

AT_ONCE = 64
LATE = {grpc.StatusCode.DEADLINE_EXCEEDED.value[0], grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]}
LONGEST = 0.05  # seconds until a call is given up
KNOWN = ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED")
MEMORY, DESCRIPTORS, THREADS, TASKS = 64 << 20, 4, 4, 4  # how much more there may be afterwards
SETTLING = 15.0  # seconds at most until all that was given up is gone


def give_up(server: Process, count: int, seed: int = 0) -> Report:
    """`count` calls cancelled by their caller and as many with a deadline of 1 to 50 ms."""
    report = Report("cancelled", seed)
    asyncio.run(_give_up(server, count, Random(seed), report))
    return report


async def _give_up(server: Process, count: int, random: Random, report: Report) -> None:
    async with AsyncClient(server.grpc) as client:
        callers = Callers(client, dim := await prepare(client), random)
        for ask in callers.calls():  # what is made once is made
            await ask()
        await _rounds(server.grpc, dim, AT_ONCE * 4, random, Report("warm-up"))
        before = await settled(server, None)
        await _rounds(server.grpc, dim, count, random, report)
        if not server.alive:
            return report.problem("the server is gone")
        after = await settled(server, before)
        compare(report, before, after)
        for ask in callers.calls():
            await ask()


async def _rounds(address: str, dim: int, count: int, random: Random, report: Report) -> None:
    left = [True] * count + [False] * count  # cancelled, or with a deadline
    random.shuffle(left)

    async def worker() -> None:
        while left:
            cancelled, patience = left.pop(), random.uniform(0.001, LONGEST)
            timeout = 30.0 if cancelled else patience
            async with AsyncClient(address, timeout=timeout) as client:
                ask = random.choice(Callers(client, dim, random).calls())
                try:
                    async with asyncio.timeout(patience if cancelled else None):
                        await ask()
                except TimeoutError:
                    report.counts["cancelled"] += 1
                except RemoteError as error:
                    report.counts[error.code] += 1
                    if error.code not in KNOWN:
                        report.problem(str(error))
                except BatchError as error:  # some entries came through in time
                    report.counts["answered in part"] += 1
                    if not {fault.code for fault in error.faults} <= LATE:
                        report.problem(str(error))
                else:
                    report.counts["answered before that"] += 1

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def settled(server: Process, wanted: Holdings | None) -> Holdings:
    """What the server holds once nothing is under way: as little as wanted, or after a while in any case."""
    loop = asyncio.get_running_loop()
    end = loop.time() + (SETTLING if wanted else 1.0)
    while True:
        await asyncio.sleep(0.5)
        now = await asyncio.to_thread(server.holdings)
        if loop.time() > end or (wanted and not more(wanted, now)):
            return now


def more(before: Holdings, after: Holdings) -> list[str]:
    """What there is more of than there may be."""
    bounds = {"memory": MEMORY, "descriptors": DESCRIPTORS, "threads": THREADS, "tasks": TASKS}
    return [
        f"{name}: {getattr(before, name):,} before, {getattr(after, name):,} after"
        for name, bound in bounds.items()
        if getattr(after, name) > getattr(before, name) + bound
    ]


def compare(report: Report, before: Holdings, after: Holdings) -> None:
    """Notes both, and what has grown."""
    report.figures |= {"before": before, "after": after}
    for problem in more(before, after):
        report.problem(problem)
