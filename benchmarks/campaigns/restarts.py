"""Rolling restarts of two servers under load: no call that a server accepted is lost.

Some callers stay with one server each and do not repeat what fails. Half of them watch its health, as our
clients do, half do not. Each call bears an id, and the server writes the id down as soon as gRPC hands
the call over, before anything else is done with it. So a call that failed was lost if its id is in that
record, unless the server said itself that it takes no more. If it is not, the call never began, and its
caller may hear UNAVAILABLE or, unless he watches, gRPC's own CANCELLED (grpc/grpc#41785). One caller
knows both servers and repeats as the client does, and must not notice anything. Every acknowledged write
is read afterwards, and none that was refused or never began may be there.
"""

import asyncio
import itertools
import json
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import grpc
from polylens.proto.polylens.v1 import collection_pb2, embed_pb2
from polylens.service.client import WATCHED, AsyncClient
from polylens.service.interceptor import CLOSED
from polylens.service.methods import METHODS, path

from .load import Callers, prepare
from .process import PROGRAM, Process
from .report import Report

STAYING = 4  # callers of each server, of which every other one watches
FLAGS = ("--drain-seconds", "0.3", "--grace-seconds", "20")
PLAIN: list[tuple[str, Any]] = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
WATCHING = [*PLAIN, ("grpc.service_config", json.dumps(WATCHED))]

# `polylens serve`, which writes down the ids of the calls it is handed.
RECORDING = """
import os
from polylens.service.interceptor import Interceptor
intercept = Interceptor.intercept_service
record = os.open({record!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def noted(self, continuation, details):
    for key, value in details.invocation_metadata:
        if key == "x-request-id":
            os.write(record, value.encode() + b"\\n")
    return await intercept(self, continuation, details)

Interceptor.intercept_service = noted
{program}
"""


class Recorded(Process):
    """A server that keeps a record of the calls it is handed, in all its lives."""

    def __init__(self, folder: Path, *flags: str, program: str = PROGRAM) -> None:
        self._record = folder / "calls"
        super().__init__(folder, *flags, program=RECORDING.format(record=str(self._record), program=program))

    def begun(self) -> set[str]:
        """The ids of all calls that it was handed."""
        return set(self._record.read_text().split())


@dataclass(frozen=True)
class Failed:
    """A call that was not answered."""

    what: str
    id: str
    watching: bool
    code: str
    words: str


@dataclass
class Told:
    """What callers of one server were told, and the ids of the writes that it acknowledged."""

    report: Report
    answered: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    failed: list[Failed] = field(default_factory=list)
    over: bool = False


def roll(
    servers: list[Recorded],
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
    servers: list[Recorded], turns: Iterable[int], random: Random, report: Report, number: int
) -> None:
    told = [Told(report) for _ in servers]
    for server in servers:
        async with AsyncClient(server.grpc) as client:
            await prepare(client)
    tasks = [
        asyncio.create_task(_stay(server, one, f"{server.grpc}/{caller}", watching=bool(caller % 2)))
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
        await _look_for(server, one, _judge(server.begun(), one))
    report.counts["restarts"] = len(durations)
    report.figures["slowest end, s"] = round(max(durations, default=0), 2)


async def _stay(server: Recorded, told: Told, name: str, *, watching: bool) -> None:
    """Asks one server, half writes and half texts to embed; does not repeat what fails."""
    async with grpc.aio.insecure_channel(server.grpc, options=WATCHING if watching else PLAIN) as channel:
        write = channel.unary_unary(path(METHODS["UpsertPoints"]))
        embed = channel.unary_unary(path(METHODS["EmbedTexts"]))
        for turn in itertools.count(1):
            if told.over:
                return
            what, id = ("write", "embed")[turn % 2], f"{name}/{turn}"
            if what == "write":
                point = collection_pb2.Point(id=id, vector=_vector(turn))
                request = collection_pb2.UpsertPointsRequest(collection="load", points=[point])
                call = write(request.SerializeToString(), timeout=30, metadata=[("x-request-id", id)])
            else:
                texts = embed_pb2.EmbedTextsRequest(texts=[f"{id} {i}" for i in range(16)])
                call = embed(texts.SerializeToString(), timeout=30, metadata=[("x-request-id", id)])
            try:
                await call
            except grpc.aio.AioRpcError as error:
                told.failed.append(Failed(what, id, watching, error.code().name, str(error.details())))
                await asyncio.sleep(0.25)
            else:
                told.answered.add(id)
                told.report.counts[f"{what} answered"] += 1
                if what == "write":
                    told.stored.add(id)


def _judge(begun: set[str], told: Told) -> list[str]:
    """Counts what became of failed calls, by the record; returns the writes that may not be there."""
    report, undone = told.report, []
    for id in sorted(told.answered - begun):
        report.problem(f"the record is wrong: {id} was answered and is not in it")
    for one in told.failed:
        heard = f"{one.code}{', watching' if one.watching else ''}"
        if one.id in begun and one.code == "UNAVAILABLE" and one.words == CLOSED:
            report.counts[f"{one.what} refused by the server"] += 1
        elif one.id in begun:
            report.counts[f"{one.what} LOST"] += 1
            report.problem(f"{one.what} lost: {heard} {one.words}")
            continue  # nothing is known of it
        elif one.code == "UNAVAILABLE" or (one.code == "CANCELLED" and not one.watching):
            report.counts[f"{one.what} never begun: {heard}"] += 1
        else:
            report.problem(f"{one.what} never begun heard {heard} {one.words}")
        if one.what == "write":
            undone.append(one.id)
    return undone


async def _balanced(servers: list[Recorded], told: Told, random: Random) -> None:
    """Knows both servers, and repeats as the client does."""
    target = "ipv4:" + ",".join(server.grpc for server in servers)
    async with AsyncClient(target) as client:
        callers = Callers(client, (await client.info()).model.dim, random)
        while not told.over:
            try:
                await random.choice((callers.search, callers.embed, callers.read))()
            except Exception as error:
                told.report.problem(f"the caller who knows both servers got {error!r}")
                await asyncio.sleep(0.25)
            else:
                told.report.counts["answered the caller who knows both"] += 1


async def _look_for(server: Recorded, told: Told, undone: list[str]) -> None:
    report, stored = told.report, sorted(told.stored)
    async with AsyncClient(server.grpc) as client:
        points = await client.get(stored, collection="load") if stored else []
        others = await client.get(undone, collection="load") if undone else []
    report.counts["acknowledged writes found"] += sum(point is not None for point in points)
    for id, point in zip(stored, points, strict=True):
        if point is None:
            report.problem(f"the acknowledged write {id} is not there")
    for id, point in zip(undone, others, strict=True):
        if point is not None:
            report.problem(f"the write {id} is there, though it was refused or never begun")


def _vector(turn: int) -> bytes:
    return bytes(4 * (turn % DIM)) + b"\x00\x00\x80?" + bytes(4 * (DIM - 1 - turn % DIM))


DIM = 256  # of `mini`
