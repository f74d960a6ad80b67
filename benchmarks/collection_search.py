"""What a collection costs over raw FAISS on the same vectors, and how long a durable upsert takes.

Prints two markdown tables. The same process times, in turn, on the same clustered unit vectors:
- `faiss`: `IndexFlatIP.search` as it comes: positions and scores;
- `product`: only the matrix product of queries and vectors, the least that computing every score takes;
- `collection`: `Collection.search`: exact scores, ids and metadata;
- `filter 1 %`: the same with a filter that one row in a hundred passes;
- `1 % deleted`: the same after deleting one row in a hundred.
A ratio is the median over the rounds of FAISS's time just before over the contender's, so that other load
cancels out; above 1 the contender is faster. Aims for `collection`: 0.7 at batch 1, 0.9 at batch 64.

Upserts are synced before they return, so their times are the disk's: one at a time, from eight threads at
once (which share commits), and in bulk.

    python benchmarks/collection_search.py                                      # 100,000 x 512, about 2 GB
    python benchmarks/collection_search.py --rows 2000 --dim 64 --rounds 3 --upserts 50   # a quick look
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from polylens.index import Collection, Equal

Vectors = NDArray[np.float32]
BULK = 4_096


def clustered(rows: int, dim: int, seed: int, centres: int = 100) -> Vectors:
    """Unit rows around common random centres: neighbours are near, as those of real embeddings are."""
    middle = np.random.default_rng(0).standard_normal((centres, dim), dtype=np.float32)
    generator = np.random.default_rng(seed)
    vectors = middle[generator.integers(centres, size=rows)]
    vectors += 0.7 * generator.standard_normal((rows, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The time of one call, averaged over the repeats."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def fill(collection: Collection, vectors_ND: Vectors) -> float:
    """Vectors per second of a bulk load."""
    start = time.perf_counter()
    for first in range(0, len(vectors_ND), BULK):
        part = vectors_ND[first : first + BULK]
        numbers = range(first, first + len(part))
        metadata = [{"name": f"picture {n}", "share": n % 100, "tags": ["cat", "sea"]} for n in numbers]
        collection.upsert([f"id-{n}" for n in numbers], part, metadata)
    return len(vectors_ND) / (time.perf_counter() - start)


def searches(
    collection: Collection, vectors_ND: Vectors, batch: int, rounds: int, k: int
) -> dict[str, list[tuple[float, float]]]:
    """By contender and round, milliseconds per search: the contender's and FAISS's just before it."""
    raw = faiss.IndexFlatIP(vectors_ND.shape[1])
    raw.add(vectors_ND)
    queries = clustered(batch, vectors_ND.shape[1], seed=batch + 1)
    repeats = max(1, 16 // batch)
    whole: dict[str, Callable[[], object]] = {
        "faiss": lambda: raw.search(queries, k),
        "product": lambda: queries @ vectors_ND.T,
        "collection": lambda: collection.search(queries, k),
        "filter 1 %": lambda: collection.search(queries, k, Equal("share", 7)),
    }
    times = timed(whole, whole["faiss"], rounds, repeats)
    gone = [f"id-{n}" for n in range(0, len(vectors_ND), 100)]
    kept = [record for record in collection.get(gone) if record is not None]
    collection.delete(gone)
    times |= timed({"1 % deleted": whole["collection"]}, whole["faiss"], rounds, repeats)
    stored = np.array([record.vector for record in kept])
    collection.upsert([record.id for record in kept], stored, [record.metadata for record in kept])
    return times


def timed(
    contenders: dict[str, Callable[[], object]], reference: Callable[[], object], rounds: int, repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """By contender and round, the milliseconds of a call of the contender and of the reference."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for call in (reference, *contenders.values()):
        call()  # warm
    for _ in range(rounds):
        for name, call in contenders.items():
            base = 1e3 * seconds(reference, repeats)
            times[name].append((1e3 * seconds(call, repeats), base))
    return times


def upserts(
    collection: Collection, vectors_ND: Vectors, count: int, threads: int
) -> tuple[list[float], float]:
    """Milliseconds of each single upsert, and upserts per second over all threads."""
    times: list[float] = []

    def write(thread: int) -> None:
        for n in range(count):
            row = vectors_ND[(thread * count + n) % len(vectors_ND)][None]
            times.append(1e3 * seconds(lambda n=n, row=row: collection.upsert([f"new-{thread}-{n}"], row), 1))

    jobs = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
    start = time.perf_counter()
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    return times, threads * count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--upserts", type=int, default=300)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--folder", type=Path, help="where the collection goes, to measure that disk")
    given = parser.parse_args()
    vectors = clustered(given.rows, given.dim, seed=1)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        with Collection.create(f"{folder}/c", dim=given.dim, fingerprint="benchmark") as collection:
            rate = fill(collection, vectors)
            print(f"{given.rows:,} x {given.dim}, k = {given.k}, {given.rounds} rounds\n")
            print("| batch | contender | ms | queries/s | over faiss |\n|--:|---|--:|--:|--:|")
            for batch in given.batches:
                times = searches(collection, vectors, batch, given.rounds, given.k)
                for name, pairs in times.items():
                    ratio = statistics.median(base / own for own, base in pairs)
                    ms = statistics.median(own for own, _ in pairs)
                    print(f"| {batch} | {name} | {ms:.2f} | {1e3 * batch / ms:,.0f} | {ratio:.2f} |")
            print("\n| durable writes | p50 ms | p99 ms | per second |\n|---|--:|--:|--:|")
            for threads in (1, 8):
                single, per_second = upserts(collection, vectors, given.upserts, threads)
                p50, p99 = np.percentile(single, [50, 99])
                print(f"| single, {threads} thread(s) | {p50:.2f} | {p99:.2f} | {per_second:,.0f} |")
            print(f"| bulk of {BULK:,} | | | {rate:,.0f} |")
        start = time.perf_counter()
        with Collection.open(f"{folder}/c") as collection:
            print(f"\nopened {collection.count():,} vectors in {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
