"""Rolling restarts of two servers under load: no call that a server accepted is lost.

Some callers stay with one server each and do not repeat what fails. What they hear counts as refused if the
server said so before it began (it drains, or nobody listens); every other failure is a call lost. One caller
knows both servers and repeats as the client does, and must not notice anything. Every acknowledged write is
read afterwards, and none that was refused may be there.
"""

import asyncio
import itertools
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from random import Random

import grpc
from polylens.proto.polylens.v1 import collection_pb2, embed_pb2
from polylens.service.client import AsyncClient
from polylens.service.methods import METHODS, path

from .load import Callers, prepare
from .process import Process
from .report import Report

STAYING = 4  # callers of each server
# What gRPC's own code says when no server ever saw the call.
NOBODY = ("failed to connect", "Connection refused", "connections to all backends failing")
DRAINING = ("stopping", "draining", "GOAWAY")
FLAGS = ("--drain-seconds", "0.3", "--grace-seconds", "20")


@dataclass
class Told:
    """What callers of one server were told, and the ids whose write it acknowledged, or refused."""

    report: Report
    stored: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    over: bool = False


def roll(
    servers: list[Process],
    count: int,
    seed: int = 0,
    number: int = signal.SIGTERM,
    minutes: float = float("inf"),
) -> Report:
    """`count` restarts, turn by turn, each by the signal; as many as there is time for."""
    report = Report("restarts", seed)
    end = time.monotonic() + 60 * minutes
    turns = itertools.takewhile(lambda _: time.monotonic() < end, range(count))
    asyncio.run(_roll(servers, turns, Random(seed), report, number))
    return report


async def _roll(
    servers: list[Process], turns: Iterable[int], random: Random, report: Report, number: int
) -> None:
    told = [Told(report) for _ in servers]
    for server in servers:
        async with AsyncClient(server.grpc) as client:
            await prepare(client)
    tasks = [
        asyncio.create_task(_stay(server, one, f"{server.grpc}/{caller}"))
        for server, one in zip(servers, told, strict=True)
        for caller in range(STAYING)
    ]
    tasks.append(asyncio.create_task(_balanced(servers, told[0], random)))
    durations = []
    try:
        for turn in turns:
            server = servers[turn % len(servers)]
            await asyncio.sleep(random.uniform(0.2, 1.0))
            begun = asyncio.get_running_loop().time()
            code = await asyncio.to_thread(server.end, number)
            durations.append(asyncio.get_running_loop().time() - begun)
            if code != (0 if number == signal.SIGTERM else -number):
                report.problem(f"a server ended with {code}")
            await asyncio.to_thread(server.start)
        await asyncio.sleep(0.5)
    finally:
        for one in told:
            one.over = True
        await asyncio.gather(*tasks)
    for server, one in zip(servers, told, strict=True):
        await _look_for(server, one, report)
    report.counts["restarts"] = len(durations)
    report.figures["slowest end, s"] = round(max(durations, default=0), 2)


async def _stay(server: Process, told: Told, name: str) -> None:
    """Asks one server, half writes and half texts to embed; does not repeat what fails."""
    async with grpc.aio.insecure_channel(server.grpc, options=[("grpc.enable_retries", 0)]) as channel:
        write = channel.unary_unary(path(METHODS["UpsertPoints"]))
        embed = channel.unary_unary(path(METHODS["EmbedTexts"]))
        turn = 0
        while not told.over:
            turn += 1
            id = f"{name}/{turn}"
            if turn % 2:
                point = collection_pb2.Point(id=id, vector=_vector(turn))
                request = collection_pb2.UpsertPointsRequest(collection="load", points=[point])
                answered = await _ask(told, "write", lambda: write(request.SerializeToString(), timeout=30))  # noqa: B023
                if answered is not None:
                    (told.stored if answered else told.refused).add(id)
            else:
                texts = embed_pb2.EmbedTextsRequest(texts=[f"{id} {i}" for i in range(16)])
                await _ask(told, "embed", lambda: embed(texts.SerializeToString(), timeout=30))  # noqa: B023


async def _ask(told: Told, what: str, ask: Callable[[], Awaitable[bytes]]) -> bool | None:
    """Whether it was answered, or else refused; None if it was lost."""
    try:
        await ask()
    except grpc.aio.AioRpcError as error:
        words = str(error.details())
        unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
        refused = unavailable and any(one in words for one in (*NOBODY, *DRAINING))
        if refused:
            told.report.counts[f"{what} refused before it began"] += 1
        else:
            told.report.counts[f"{what} LOST"] += 1
            told.report.problem(f"{what} lost: {error.code().name} {words}")
        await asyncio.sleep(0.25)
        return False if refused else None
    told.report.counts[f"{what} answered"] += 1
    return True


async def _balanced(servers: list[Process], told: Told, random: Random) -> None:
    """Knows both servers, and repeats as the client does."""
    target = "ipv4:" + ",".join(server.grpc for server in servers)
    async with AsyncClient(target) as client:
        callers = Callers(client, (await client.info()).model.dim, random)
        while not told.over:
            try:
                await random.choice((callers.search, callers.embed, callers.read))()
            except Exception as error:
                told.report.problem(f"the caller who knows both servers got {error!r}")
            else:
                told.report.counts["answered the caller who knows both"] += 1


async def _look_for(server: Process, told: Told, report: Report) -> None:
    async with AsyncClient(server.grpc) as client:
        ids, refused = sorted(told.stored), sorted(told.refused)
        points = await client.get(ids, collection="load") if ids else []
        others = await client.get(refused, collection="load") if refused else []
    report.counts["acknowledged writes found"] += sum(point is not None for point in points)
    for id, point in zip(ids, points, strict=True):
        if point is None:
            report.problem(f"the acknowledged write {id} is not there")
    for id, point in zip(refused, others, strict=True):
        if point is not None:
            report.problem(f"the write {id} is there, though its caller was refused")


def _vector(turn: int) -> bytes:
    return bytes(4 * (turn % DIM)) + b"\x00\x00\x80?" + bytes(4 * (DIM - 1 - turn % DIM))


DIM = 256  # of `mini`
