"""Everything at a modest rate for an hour, and whether the server holds more and more of anything.

Honest calls of every kind, callers who give up, malformed requests and new connections take turns. Every half
minute the load pauses for a moment, and what the server holds is written down.
"""

import asyncio
import statistics
from random import Random
from typing import Any

import numpy as np
from polylens.service.client import AsyncClient
from polylens.service.errors import RemoteError

from . import requests
from .cancelled import settled
from .load import Ask, Callers, paced, prepare
from .messages import JsonNoise, Noise
from .process import Holdings, Process
from .report import Report

RATE = 5.0  # honest calls a second
ROUND = 28.0  # seconds of load before each pause
MALFORMED = 40  # of each round
MEMORY = 16 << 20  # bytes more in the last quarter than in the second; the first one warms up
GIVEN_UP = object()
FEWEST = 4  # rounds
HELD = 3  # descriptors, threads, tasks, likewise


def soak(
    server: Process,
    minutes: float,
    seed: int = 0,
    *,
    rate: float = RATE,
    seconds: float = ROUND,
    memory: int = MEMORY,
) -> Report:
    """What a server held over the time."""
    report = Report("soak", seed)
    asyncio.run(_soak(server, minutes * 60, rate, seconds, Random(seed), report))
    judge(report, memory)
    return report


async def _soak(
    server: Process, length: float, rate: float, seconds: float, random: Random, report: Report
) -> None:
    loop = asyncio.get_running_loop()
    examples = await asyncio.to_thread(requests.examples, server.http)
    routes, samples = JsonNoise(random, examples), []
    begun = loop.time()
    while server.alive and (loop.time() - begun < length or len(samples) < FEWEST):
        async with AsyncClient(server.grpc) as client:  # a new connection each round
            callers = Callers(client, dim := await prepare(client), random)
            await client.create_collection(requests.COLLECTION, exist_ok=True)

            def choice() -> Ask:
                ask = random.choice(callers.calls())  # noqa: B023
                return _impatient(ask, random) if random.random() < 0.05 else ask

            await paced(choice, rate, seconds, lambda result: note(report, result))
        await requests.send_grpc(server, Noise(random, dim), MALFORMED, report)
        await requests.send_http(server, routes, MALFORMED // 4, report)
        await requests.send_frames(server, random, 1, report)
        async with AsyncClient(server.grpc) as client:
            await requests.tidy(client, report)
        if not server.alive:
            return report.problem("the server is gone")
        try:
            held = await settled(server, None)
        except OSError as error:
            report.problem(f"the server did not say what it holds: {error}")
            continue
        samples.append({"seconds": round(loop.time() - begun), **vars(held)})
        report.figures["samples"] = samples


def _impatient(ask: Ask, random: Random) -> Ask:
    async def given_up() -> object:
        try:
            async with asyncio.timeout(random.uniform(0.0, 0.05)):
                return await ask()
        except TimeoutError:
            return GIVEN_UP

    return given_up


def note(report: Report, result: Any) -> None:
    """Counts one call."""
    if isinstance(result, RemoteError) and result.code == "RESOURCE_EXHAUSTED":
        report.counts["told to come back"] += 1
    elif isinstance(result, RemoteError) and result.code == "DEADLINE_EXCEEDED":
        report.counts["too late, on a busy machine"] += 1
    elif isinstance(result, Exception):
        report.problem(f"an honest caller got {result!r}")
    else:
        report.counts["given up" if result is GIVEN_UP else "answered"] += 1


def judge(report: Report, memory: int) -> None:
    """Compares the last quarter of the samples with the second, and says how steep the memory is."""
    samples = report.figures.get("samples", [])
    if len(samples) < FEWEST:
        return report.problem(f"{len(samples)} samples are too few")
    quarter = len(samples) // 4
    for name in Holdings.__dataclass_fields__:
        early = statistics.median(one[name] for one in samples[quarter : 2 * quarter])
        late = statistics.median(one[name] for one in samples[-quarter:])
        report.figures[f"{name}, second quarter and last"] = f"{early:,.0f}, {late:,.0f}"
        bound = memory if name in ("memory", "children") else HELD
        if late - early > bound:
            report.problem(f"{name} grew from {early:,.0f} to {late:,.0f}")
    half = samples[quarter:]
    hours = [one["seconds"] / 3600 for one in half]
    slope = np.polyfit(hours, [one["memory"] / 1e6 for one in half], 1)[0]
    report.figures["slope of the memory after the first quarter, MB/h"] = round(float(slope), 1)
