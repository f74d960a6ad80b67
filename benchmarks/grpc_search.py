"""What a text search over gRPC costs over the same search in the process, at 1, 8 and 32 callers at once.

Prints a markdown table. Callers ask again as soon as they have their answer, each time something new:
- `direct`: `encode_texts` and `Collection.search`, one thread for each caller, nothing shared;
- `engine`: `Engine.search`, which forms batches across callers;
- `gRPC`: the same over loopback, asked with `AsyncClient` of a `polylens serve` in a process of its own.
Times are the median and the 99th percentile of a round trip in milliseconds, rates are searches per second.
`gRPC / engine` is the ratio of their medians: what the wire costs. Rounds take turns, so that other load
hits all alike; the median over the rounds is shown.

    python benchmarks/grpc_search.py                                     # mini, 5,000 points
    python benchmarks/grpc_search.py --model FOLDER --rounds 1 --seconds 1 --points 200
"""

import argparse
import asyncio
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polylens
from polylens.index import Store
from polylens.service.client import AsyncClient, Client
from polylens.service.engine import Engine
from polylens.service.records import TextQuery
from polylens.service.settings import Settings

CALLERS = (1, 8, 32)
K = 10
WORDS = (
    "red green old small bright sleeping wooden apple boat cat house lamp mountain train tree wave".split()
)
Ask = Callable[[str], Awaitable[object]]


@dataclass(frozen=True)
class Round:
    """The round trips of one round, in milliseconds, and how many there were in a second."""

    median: float
    p99: float
    rate: float


def texts() -> Iterator[str]:
    """Different texts without end."""
    generator = np.random.default_rng(0)
    return (f"{' '.join(generator.choice(WORDS, 3))} {number}" for number in itertools.count())


async def measure(ask: Ask, callers: int, seconds: float) -> Round:
    """One round with so many callers."""
    words, trips = texts(), list[float]()
    end = time.perf_counter() + seconds

    async def call() -> None:
        while (begun := time.perf_counter()) < end:
            await ask(next(words))
            trips.append(1000 * (time.perf_counter() - begun))

    begun = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    rate = len(trips) / (time.perf_counter() - begun)
    return Round(statistics.median(trips), float(np.quantile(trips, 0.99)), rate)


@contextmanager
def serving(model: str, data: Path) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "polylens",
        "serve",
        "--model",
        model,
        "--data",
        str(data),
        "--port",
        "0",
    ]
    with subprocess.Popen([*command, "--drain-seconds", "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if " on " not in line:
                raise SystemExit("the server did not start")
            yield line.split(" on ")[1].split(",")[0]
        finally:
            process.terminate()


async def compare(model: str, points: int, rounds: int, seconds: float, folder: Path) -> None:
    """Measures the three ways and prints the table."""
    encoder = polylens.load(model)
    vectors_ND = np.random.default_rng(0).standard_normal((points, encoder.dim), dtype=np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    ids = [str(number) for number in range(points)]
    store = Store(folder / "here")
    collection = store.create("c", dim=encoder.dim, fingerprint=encoder.fingerprint)
    collection.upsert(ids, vectors_ND)
    with serving(model, folder / "there") as address, ThreadPoolExecutor(max(CALLERS)) as threads:
        with Client(address) as client:
            client.create_collection("c")
            client.upsert(ids, collection="c", vectors=vectors_ND)
        async with Engine(encoder, store, Settings()) as engine, AsyncClient(address) as remote:

            def one(text: str) -> object:
                return collection.search(encoder.encode_texts([text]), K)

            async def direct(text: str) -> object:
                return await asyncio.get_running_loop().run_in_executor(threads, one, text)

            ways: dict[str, Ask] = {
                "direct": direct,
                "engine": lambda text: engine.search("c", TextQuery(text), K),
                "gRPC": lambda text: remote.search(text, collection="c", k=K),
            }
            print(f"{encoder.name}, {points:,} points of {encoder.dim} dimensions\n")
            await table(ways, rounds, seconds)


async def table(ways: dict[str, Ask], rounds: int, seconds: float) -> None:
    """Prints a line for each number of callers."""
    print("| callers | " + " | ".join(f"{way} ms | p99 | /s" for way in ways) + " | gRPC / engine |")
    print("|---|" + "---|" * (3 * len(ways) + 1))
    for callers in CALLERS:
        results: dict[str, list[Round]] = {way: [] for way in ways}
        for number in range(rounds + 1):
            for way, ask in ways.items():
                done = await measure(ask, callers, seconds)
                if number:  # the first round warms up
                    results[way].append(done)
        print(row(callers, results), flush=True)


def row(callers: int, results: dict[str, list[Round]]) -> str:
    """One line of the table."""
    cells = [str(callers)]
    for done in results.values():
        cells += [
            f"{statistics.median(r.median for r in done):.1f}",
            f"{statistics.median(r.p99 for r in done):.1f}",
        ]
        cells.append(f"{statistics.median(r.rate for r in done):.0f}")
    pairs = zip(results["gRPC"], results["engine"], strict=True)
    cells.append(f"{statistics.median(grpc.median / engine.median for grpc, engine in pairs):.2f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--points", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(given.model, given.points, given.rounds, given.seconds, Path(folder)))


if __name__ == "__main__":
    main()
