"""What the benchmarks of collections share: made vectors, taking turns, exact neighbours, tables and JSON.

Legend: N rows, D width, Q queries, K best per query.
"""

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Found = Sequence[Sequence[int]]  # for each query the row numbers found
Search = Callable[[Vectors], Found]
BLOCK = 65_536


@dataclass(frozen=True)
class Mixture:
    """Unit vectors in clusters of unequal sizes, as embeddings have; made, not recorded.

    A row is (centre + spread * noise) scaled to length 1. Centres and noise are Gaussian, and the variance of
    the i-th axis falls like 1 / (1 + i): of 768 axes some 30 matter, as in real embeddings; with equal ones
    all rows of a cluster would be about as near as each other. Cluster weights are log-normal, so the largest
    of a hundred clusters is about a hundred times the smallest. A spread of 1 puts rows of one cluster at a
    cosine of about 0.5: clusters overlap, and their borders cut through neighbourhoods.
    """

    dim: int
    clusters: int
    spread: float = 1.0

    def draw(self, rows: int, seed: int) -> Vectors:
        """Rows (N, D) float32; other seeds give other rows of the same mixture."""
        shape = np.random.default_rng(0)
        scale_D = shape.permutation((1 + np.arange(self.dim)) ** -0.5).astype(np.float32)
        centres = scale_D * shape.standard_normal((self.clusters, self.dim), dtype=np.float32)
        weights = np.exp(shape.standard_normal(self.clusters))
        generator = np.random.default_rng(seed)
        vectors_ND = np.empty((rows, self.dim), np.float32)
        for start in range(0, rows, BLOCK):
            block = vectors_ND[start : start + BLOCK]
            generator.standard_normal(out=block, dtype=np.float32)
            block *= self.spread * scale_D
            block += centres[generator.choice(self.clusters, len(block), p=weights / weights.sum())]
            block /= np.linalg.norm(block, axis=1, keepdims=True)
        return vectors_ND


def neighbours(
    vectors_ND: Vectors, queries_QD: Vectors, k: int, chosen: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """The rows (Q, K) of the largest inner products, best first, among the chosen rows: by brute force."""
    rows_N = np.arange(len(vectors_ND)) if chosen is None else chosen
    best_rows = np.empty((len(queries_QD), 0), np.int64)
    best = np.empty((len(queries_QD), 0), np.float32)
    for start in range(0, len(rows_N), BLOCK):
        part = rows_N[start : start + BLOCK]
        best = np.hstack([best, queries_QD @ vectors_ND[part].T])
        best_rows = np.hstack([best_rows, np.broadcast_to(part, (len(queries_QD), len(part)))])
        top = np.argsort(-best, axis=1, kind="stable")[:, :k] if best.shape[1] <= k else _top(best, k)
        best, best_rows = np.take_along_axis(best, top, 1), np.take_along_axis(best_rows, top, 1)
    return best_rows


def _top(scores_QN: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    top = np.argpartition(-scores_QN, k - 1, axis=1)[:, :k]
    return np.take_along_axis(top, np.argsort(-np.take_along_axis(scores_QN, top, 1), axis=1), 1)


def recall(search: Search, queries_QD: Vectors, truth_QK: NDArray[np.int64], seconds: float = 20) -> float:
    """The share of the right answers that is found, over as many queries as fit the time (at least one)."""
    shares: list[float] = []
    end, size = time.perf_counter() + seconds, 1
    while len(shares) < len(queries_QD) and (not shares or time.perf_counter() < end):
        part = slice(len(shares), len(shares) + size)
        for found, right in zip(search(queries_QD[part]), truth_QK[part].tolist(), strict=True):
            shares.append(len({*found} & {*right}) / len(right))
        size = 64  # one first: it tells a slow searcher
    return statistics.fmean(shares)


def rates(
    searches: Mapping[str, Search], queries_QD: Vectors, batch: int, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """By name, queries per second in each round, where all take turns for about so many seconds each.

    Slow ones, whose first search takes over five times that, keep the rate of that one for all rounds.
    """
    batches = [queries_QD[at : at + batch] for at in range(0, len(queries_QD) - batch + 1, batch)]
    found: dict[str, list[float]] = {name: [] for name in searches}
    counts = {}
    for name, search in searches.items():
        taken = seconds_of(lambda search=search: search(batches[0]))
        if taken > 5 * seconds:
            found[name] = [batch / taken] * rounds
        else:
            taken = min(seconds_of(lambda search=search: search(batches[-1])) for _ in range(2))
            counts[name] = max(1, int(seconds / taken))
    for turn in range(rounds):
        names = list(counts)
        for name in names if turn % 2 else reversed(names):
            start = time.perf_counter()
            for number in range(counts[name]):
                searches[name](batches[(number + turn) % len(batches)])
            found[name].append(counts[name] * batch / (time.perf_counter() - start))
    return found


def lists(rows: int) -> int:
    """How many lists an IVF index of so many rows has: about 4 roots, but 39 rows for each to train on."""
    return 2 ** math.floor(min(math.log2(4 * rows**0.5) + 0.5, math.log2(rows / 39)))


def seconds_of(call: Callable[[], object]) -> float:
    """How long the call took."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio(own: Sequence[float], other: Sequence[float]) -> float:
    """The median over the rounds of own over other."""
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


def folder_bytes(folder: Path, pattern: str = "*") -> int:
    """The bytes of the files in and below the folder that match."""
    return sum(file.stat().st_size for file in folder.rglob(pattern) if file.is_file())


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of the benchmark."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def parse(options: argparse.ArgumentParser, name: str, quick: Mapping[str, object]) -> argparse.Namespace:
    """The given options; `--quick` puts other defaults in the place of the usual ones."""
    sizes = ", ".join(f"{key} {value}" for key, value in quick.items())
    options.add_argument("--quick", action="store_true", help=f"sizes to see that it runs: {sizes}")
    options.add_argument("--folder", type=Path, help="where the files go, to measure that disk")
    options.add_argument("--json", type=Path, default=Path(f"{name}.json"), help="where the figures go")
    if options.parse_known_args()[0].quick:
        options.set_defaults(**quick)
    return options.parse_args()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; floats are written with three significant digits, None as a dash."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *([shown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: object) -> str:
    """The value as a person reads it."""
    if value is None:
        return "–"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """What the figures depend on, without a name."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load before": os.getloadavg()[0],
        "faiss": f"{faiss.__version__} {faiss.get_compile_options().strip()}",
        "versions": {name: metadata.version(name) for name in ("numpy", "apsw")},
        "python": platform.python_version(),
    }


def save(given: argparse.Namespace, before: dict[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """Writes settings, machine and results as JSON."""
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    whole = {"settings": settings, "machine": before, "results": results}
    given.json.write_text(json.dumps(whole, indent=1) + "\n")
    print(f"\nfigures in {given.json}")
