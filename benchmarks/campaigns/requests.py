"""Malformed requests to every method and route, and frames of no meaning: only documented codes come back."""

import asyncio
import contextlib
import http.client
import json
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import grpc
from polylens.service.client import AsyncClient
from polylens.service.methods import METHODS, path

from .load import COLLECTION as HONEST
from .messages import COLLECTION, JsonNoise, Noise, frames
from .process import Process
from .report import Report

Code = grpc.StatusCode
# Those of docs/service.md but INTERNAL, which is a bug, and DATA_LOSS: nothing is damaged here.
DOCUMENTED = {
    Code.OK,
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.FAILED_PRECONDITION,
    Code.ABORTED,
    Code.RESOURCE_EXHAUSTED,
    Code.UNIMPLEMENTED,  # what this model cannot
}
STATUSES = {200, 400, 404, 405, 409, 413, 421, 429, 501}
AT_ONCE = 32
SECONDS = 30.0  # without an answer for so long it hangs
SHARES = {"gRPC": 0.75, "HTTP": 0.23, "frames": 0.02}
GROWTH = 128 << 20


def attack(server: Process, count: int, seed: int = 0) -> Report:
    """Three quarters are messages of gRPC, most others bodies of HTTP, one in 50 a connection of frames."""
    report = Report("requests", seed)
    asyncio.run(_attack(server, count, Random(seed), report))
    if not server.alive:
        report.problem("the server is gone")
    return report


async def _attack(server: Process, count: int, random: Random, report: Report) -> None:
    async with AsyncClient(server.grpc) as client:
        await client.create_collection(COLLECTION, exist_ok=True)
        dim = (await client.info()).model.dim
        routes = JsonNoise(random, await asyncio.to_thread(examples, server.http))
        noise, before = Noise(random, dim), None
        for done in range(0, count, block := min(2000, count)):
            size = min(block, count - done)
            await send_grpc(server, noise, round(size * SHARES["gRPC"]), report)
            await send_http(server, routes, round(size * SHARES["HTTP"]), report)
            await send_frames(server, random, round(size * SHARES["frames"]) or 1, report)
            await tidy(client, report)
            before = before or await asyncio.to_thread(server.holdings)
    after = await asyncio.to_thread(server.holdings)
    if before is not None:
        grown = after.memory - before.memory
        report.figures |= {"memory grown, MB": round(grown / 1e6, 1)}
        report.figures |= {"descriptors before and after": f"{before.descriptors}, {after.descriptors}"}
        if grown > GROWTH:
            report.problem(f"the server's memory grew by {grown / 1e6:.0f} MB")


async def send_grpc(server: Process, noise: Noise, count: int, report: Report) -> None:
    async with grpc.aio.insecure_channel(server.grpc) as channel:

        async def one() -> None:
            kind, name, data = noise.request()
            try:
                async with asyncio.timeout(SECONDS):
                    await _call(channel, name, data)
                code = Code.OK
            except grpc.aio.AioRpcError as error:
                code = error.code()
                if code not in DOCUMENTED:
                    report.problem(f"{name}: {code.name} {error.details()!r} for {data[:60].hex()}")
            except TimeoutError:
                return report.problem(f"{name}: no answer in {SECONDS:g} s for {data[:60].hex()}")
            report.counts[f"gRPC, {kind}: {code.name}"] += 1

        await _many(one, count)


async def _call(channel: grpc.aio.Channel, name: str, data: bytes) -> None:
    if METHODS[name].client_streaming:
        async for _ in channel.stream_stream(path(METHODS[name]))(iter([data])):
            pass
    else:
        await channel.unary_unary(path(METHODS[name]))(data)


async def send_http(server: Process, routes: JsonNoise, count: int, report: Report) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(8) as pool:

        async def one() -> None:
            kind, route, body = routes.request()
            try:
                status = await loop.run_in_executor(pool, post, server.http, route, body)
            except (OSError, http.client.HTTPException) as error:
                return report.problem(f"{route}: {error!r} for {body[:60]!r}")
            report.counts[f"HTTP, {kind}: {status}"] += 1
            if status not in STATUSES:
                report.problem(f"{route}: {status} for {body[:200]!r}")

        await _many(one, count)


def post(address: str, route: str, body: bytes) -> int:
    """The status of the answer."""
    connection = http.client.HTTPConnection(address, timeout=SECONDS)
    try:
        connection.request("POST", route, body, {"content-type": "application/json"})
        with connection.getresponse() as reply:
            reply.read()
            return reply.status
    finally:
        connection.close()


def examples(address: str) -> dict[str, list[Any]]:
    """The bodies that the server's own OpenAPI document shows, by route; a new route cannot be forgotten."""
    with urllib.request.urlopen(f"http://{address}/openapi.json", timeout=SECONDS) as reply:
        document = json.load(reply)
    posted = {route: methods["post"] for route, methods in document["paths"].items() if "post" in methods}
    bodies = {route: one["requestBody"]["content"]["application/json"] for route, one in posted.items()}
    return {route: [shown["value"] for shown in one["examples"].values()] for route, one in bodies.items()}


async def send_frames(server: Process, random: Random, count: int, report: Report) -> None:
    """Says nonsense on both ports and listens a moment; what matters is that the others are still served."""

    async def one() -> None:
        host, _, port = random.choice((server.grpc, server.http)).rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(frames(random))
            async with asyncio.timeout(0.2):
                await writer.drain()
                while await reader.read(4096):
                    pass
        writer.close()
        report.counts["frames of no meaning"] += 1

    await _many(one, count)


async def tidy(client: AsyncClient, report: Report) -> None:
    """Drops what noise has made, which also shows that the server answers."""
    try:
        async with asyncio.timeout(SECONDS):
            for name in await client.aliases():
                await client.remove_alias(name)
            for one in await client.collections():
                if one.name not in (COLLECTION, HONEST):
                    await client.drop_collection(one.name)
            if await client.count(collection=COLLECTION) > 5000:
                await client.drop_collection(COLLECTION)
            await client.create_collection(COLLECTION, exist_ok=True)
    except Exception as error:
        report.problem(f"an honest caller got {error!r}")


async def _many(one: Callable[[], Awaitable[None]], count: int) -> None:
    left = Counter({"calls": count})

    async def worker() -> None:
        while left["calls"] > 0:
            left["calls"] -= 1
            await one()

    await asyncio.gather(*(worker() for _ in range(min(AT_ONCE, count))))
