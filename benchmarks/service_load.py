"""What a service makes of its model: throughput over the Encoder alone, latency from little load to too much.

First callers that ask again as soon as they are answered fill the server. Its rate is compared with that of
an `Encoder` alone in this process on the same inputs, taking turns. Then requests of one image, or one text,
come at random moments (a Poisson process, whether or not earlier ones are back: an open loop) at 30, 70, 100
and 500 % of that rate. For each load: goodput (answers a second), how long accepted and refused calls took,
how late the server's event loop was, and how much its memory grew.

    python benchmarks/service_load.py --model hf:FOLDER
    python benchmarks/service_load.py --model hf:FOLDER --dtype bfloat16 --kinds image --seconds 15
    python benchmarks/service_load.py --quick
"""

import argparse
import asyncio
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polylens
import torch
from campaigns.process import Process, worked
from common import machine, parse, parser, save, table
from PIL import Image
from polylens.service.client import AsyncClient
from polylens.service.errors import RemoteError

WORDS = (
    "red green old small bright sleeping wooden apple boat cat house lamp mountain train tree wave".split()
)
CALLERS = 4  # that fill the server, each with a list
LIST = 16
LAG = "polylens_event_loop_lag_seconds"
HEAD = (
    "load",
    "offered /s",
    "goodput /s",
    "refused",
    "p50 ms",
    "p99 ms",
    "refused in, p99 ms",
    "lag p99 ms",
    "memory",
)
Ask = Callable[[list[Any]], Awaitable[object]]


@dataclass(frozen=True)
class Load:
    """What came of a load; times in milliseconds."""

    share: float
    offered: float
    goodput: float
    refused: float
    p50: float
    p99: float
    refused_p99: float | None
    lag_p99: float
    memory: float


def inputs(kind: str, size: int = 320) -> Iterator[Any]:
    """Different JPEG files, or texts, without end."""
    random = Random(0)
    if kind == "text":
        yield from (f"{' '.join(random.choices(WORDS, k=6))} {number}" for number in itertools.count())
    noise, files = np.random.default_rng(0), list[bytes]()
    for _ in range(64):
        buffer = io.BytesIO()
        small = noise.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        Image.fromarray(small).resize((size, size)).save(buffer, "JPEG", quality=85)
        files.append(buffer.getvalue())
    yield from itertools.cycle(files)


def alone(encoder: Any, kind: str, given: list[Any], seconds: float) -> tuple[float, float]:
    """Entries a second of the encoder itself, and processor ms for each."""
    encode = encoder.encode_images if kind == "image" else encoder.encode_texts
    done, begun, before = 0, time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - begun) < seconds:
        encode([given[(done + place) % len(given)] for place in range(LIST)])
        done += LIST
    return done / taken, 1000 * (time.process_time() - before) / done


async def filled(server: Process, ask: Ask, source: Iterator[Any], seconds: float) -> tuple[float, float]:
    """Entries a second of callers that ask again as soon as they are answered, and the server's CPU ms."""
    done, loop, before = 0, asyncio.get_running_loop(), worked(server.pids())
    begun = loop.time()

    async def caller() -> None:
        nonlocal done
        while loop.time() - begun < seconds:
            await ask(list(itertools.islice(source, LIST)))
            done += LIST

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return done / (loop.time() - begun), 1000 * (worked(server.pids()) - before) / done


async def offered(
    server: Process, ask: Ask, source: Iterator[Any], share: float, rate: float, seconds: float
) -> Load:
    """What comes of `rate` requests a second at random moments."""
    loop, random = asyncio.get_running_loop(), Random(1)
    before, held = await asyncio.to_thread(server.metrics), await asyncio.to_thread(server.holdings)
    good, bad, tasks = list[float](), list[float](), set[asyncio.Task[None]]()
    begun = loop.time()

    async def one(moment: float) -> None:
        try:
            await ask([next(source)])
        except RemoteError as error:
            if error.code != "RESOURCE_EXHAUSTED" and "RST_STREAM" not in str(error):
                raise  # gRPC's own code refuses streams when thousands wait before Python has seen them
            bad.append(loop.time() - moment)
        else:
            good.append(loop.time() - moment)

    moment = begun
    while (moment := moment + random.expovariate(rate)) < begun + seconds:
        await asyncio.sleep(max(0.0, moment - loop.time()))
        tasks.add(asyncio.create_task(one(moment)))
    peak = (await asyncio.to_thread(server.holdings)).memory
    await asyncio.gather(*tasks)
    taken = loop.time() - begun
    after = await asyncio.to_thread(server.metrics)
    return Load(
        share,
        rate,
        len(good) / taken,
        len(bad) / len(tasks),
        1000 * statistics.median(good),
        1000 * float(np.quantile(good, 0.99)),
        1000 * float(np.quantile(bad, 0.99)) if bad else None,
        1000 * quantile(before, after, LAG, 0.99),
        peak / held.memory - 1,
    )


def quantile(before: dict[str, float], after: dict[str, float], name: str, share: float) -> float:
    """The upper end of the bucket in which a quantile of a histogram lies, of what came between two looks."""
    buckets = {
        float(key.split('le="')[1].rstrip('"}')): value - before.get(key, 0.0)
        for key, value in after.items()
        if key.startswith(f"{name}_bucket")
    }
    total = max(buckets.values())
    return min(edge for edge, count in buckets.items() if count >= share * total)


async def measure(server: Process, given: argparse.Namespace, kind: str, encoder: Any) -> dict[str, Any]:
    """The figures of one kind of input."""
    async with AsyncClient(server.grpc, timeout=60) as client:
        ask: Ask = client.embed_images if kind == "image" else client.embed_texts
        source = inputs(kind)
        sample = list(itertools.islice(inputs(kind), 256))
        await filled(server, ask, source, 1.0)
        alone(encoder, kind, sample, 1.0)
        own, others = [], []
        for _ in range(given.rounds):
            own.append(await asyncio.to_thread(alone, encoder, kind, sample, given.seconds))
            others.append(await filled(server, ask, source, given.seconds))
        capacity = statistics.median(rate for rate, _ in others)
        loads = []
        for share in given.loads:
            loads.append(await offered(server, ask, source, share, share * capacity, given.seconds * 2))
            await asyncio.sleep(1)
    ratio = statistics.median(a[0] / b[0] for a, b in zip(others, own, strict=True))
    cost = statistics.median(b[1] / a[1] for a, b in zip(others, own, strict=True))
    print(
        f"\n{kind}: {capacity:.1f} a second, {ratio:.3f} of the Encoder alone, by processor time {cost:.3f}\n"
    )
    rows = [
        [
            f"{one.share:.0%}",
            one.offered,
            one.goodput,
            f"{one.refused:.0%}",
            one.p50,
            one.p99,
            one.refused_p99,
        ]
        + [f"≤ {one.lag_p99:g}", f"{one.memory:+.1%}"]
        for one in loads
    ]
    print(table(HEAD, rows), flush=True)
    return {
        "kind": kind,
        "alone": own,
        "service": others,
        "ratio": ratio,
        "by processor time": cost,
        "loads": [*map(asdict, loads)],
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", default="mini")
    options.add_argument("--dtype", default="float32")
    options.add_argument("--kinds", nargs="+", default=["image", "text"])
    options.add_argument("--loads", nargs="+", type=float, default=[0.3, 0.7, 1.0, 5.0])
    options.add_argument("--seconds", type=float, default=6.0)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--flags", nargs=argparse.REMAINDER, default=[], help="further flags of polylens serve"
    )
    given = parse(options, "service_load", {"seconds": 1.0, "rounds": 1})
    before = machine()
    encoder = polylens.load(given.model, dtype=given.dtype)
    torch.set_num_threads(cores := before["cores"])
    flags = ("--dtype", given.dtype, "--drain-seconds", "0", *given.flags)
    with (
        tempfile.TemporaryDirectory() as folder,
        Process(Path(folder), *flags, model=given.model, threads=cores) as server,
    ):
        results = [asyncio.run(measure(server, given, kind, encoder)) for kind in given.kinds]
    save(given, before, results)


if __name__ == "__main__":
    main()
