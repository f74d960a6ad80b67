"""What a durable write costs over bare SQLite that stores and syncs the same bytes.

Prints three markdown tables and writes all figures as JSON. Contenders take turns, round by round, on the
same disk:
- `polylens`: `Collection.upsert`, which returns once the points are synced and searchable;
- `SQLite`: two tables (id and metadata as JSONB; vector), write-ahead log, synchronous=FULL, one transaction
  for each call, through apsw; nothing checked, nothing searchable;
- `file`: the same bytes written to a plain file, with fsync after each call: the least a disk lets anyone
  take.

Single upserts are timed one by one: the median and the 99th percentile. Bulk is points per second in calls of
4,096. Then 1, 4, 16 and 64 callers write single points at once: `gain` is their rate over that of one caller.
A collection writes what is waiting in one transaction; bare SQLite's callers wait for a lock, then commit
each its own. `/ SQLite` is the median over the rounds of the collection's rate over bare SQLite's (times:
SQLite's over its own), so above 1 the collection is faster. A virtual disk may sync to its host's memory:
then both are flattered.

    python benchmarks/durable_writes.py --quick
    python benchmarks/durable_writes.py --folder /mnt/disk       # that disk
"""

import json
import os
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import apsw
import common
import numpy as np
from common import Mixture, Vectors
from polylens.index import Collection

CALLERS = (1, 4, 16, 64)
METADATA = {"name": "a picture", "share": 7, "tags": ["cat", "sea"]}
TEXT = json.dumps(METADATA, separators=(",", ":"))


class Writer(Protocol):
    """Stores points durably; from any number of threads."""

    def write(self, ids: Sequence[str], vectors_ND: Vectors) -> None: ...
    def close(self) -> None: ...


class Polylens:
    """A collection that is never sealed meanwhile."""

    def __init__(self, folder: Path, dim: int) -> None:
        Collection.create(folder / "collection", dim=dim, fingerprint="benchmark").close()
        self._collection = Collection.open(folder / "collection", background=False)

    def write(self, ids: Sequence[str], vectors_ND: Vectors) -> None:
        self._collection.upsert(ids, vectors_ND, [METADATA] * len(ids))

    def close(self) -> None:
        self._collection.close()


class Sqlite:
    """Bare SQLite with the collection's page size and durability."""

    def __init__(self, folder: Path, dim: int) -> None:
        self._guard = threading.Lock()
        self._connection = apsw.Connection(str(folder / "bare.db"))
        self._connection.execute(
            """PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
               PRAGMA wal_autocheckpoint = 2048; PRAGMA cache_size = -16384;
               CREATE TABLE row (row_id INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, metadata BLOB NOT NULL);
               CREATE TABLE vector (row_id INTEGER PRIMARY KEY, vector BLOB NOT NULL)"""
        ).fetchall()
        self._next = 1

    def write(self, ids: Sequence[str], vectors_ND: Vectors) -> None:
        with self._guard, self._connection:
            numbers = range(self._next, self._next + len(ids))
            self._next = numbers.stop
            self._connection.executemany(
                "INSERT INTO row VALUES (?, ?, jsonb(?))", zip(numbers, ids, [TEXT] * len(ids), strict=True)
            )
            blobs = map(np.ndarray.tobytes, vectors_ND)
            self._connection.executemany("INSERT INTO vector VALUES (?, ?)", zip(numbers, blobs, strict=True))

    def close(self) -> None:
        self._connection.close()


class File:
    """A file that grows, synced after each call."""

    def __init__(self, folder: Path, dim: int) -> None:
        self._guard = threading.Lock()
        self._descriptor = os.open(folder / "file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, ids: Sequence[str], vectors_ND: Vectors) -> None:
        data = "".join(f"{id}{TEXT}" for id in ids).encode() + vectors_ND.tobytes()
        with self._guard:
            os.write(self._descriptor, data)
            os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


Rates = dict[int, list[float]]  # by number of callers, points per second in each round
KINDS: dict[str, Callable[[Path, int], Writer]] = {"polylens": Polylens, "SQLite": Sqlite, "file": File}


def singles(writers: dict[str, Writer], vectors_ND: Vectors, rounds: int) -> dict[str, list[list[float]]]:
    """By writer and round, the milliseconds of each of N single upserts."""
    times: dict[str, list[list[float]]] = {name: [] for name in writers}
    for turn in range(rounds + 1):
        for name, writer in writers.items():
            row_times = []
            for number, vector_D in enumerate(vectors_ND):
                start = time.perf_counter()
                writer.write([f"single-{turn}-{number}"], vector_D[None])
                row_times.append(1e3 * (time.perf_counter() - start))
            if turn:  # the first round warms up
                times[name].append(row_times)
    return times


def bulk(writers: dict[str, Writer], vectors_ND: Vectors, rounds: int, size: int) -> dict[str, list[float]]:
    """By writer, points per second in each round, in calls of `size`."""
    found: dict[str, list[float]] = {name: [] for name in writers}
    for turn in range(rounds):
        for name, writer in writers.items():
            start = time.perf_counter()
            for first in range(0, len(vectors_ND), size):
                part = vectors_ND[first : first + size]
                writer.write([f"bulk-{turn}-{first + n}" for n in range(len(part))], part)
            found[name].append(len(vectors_ND) / (time.perf_counter() - start))
    return found


def together(writer: Writer, vectors_ND: Vectors, callers: int, label: str) -> float:
    """Points per second when so many threads write the rows one by one, each its share."""

    def write(caller: int) -> None:
        for number in range(caller, len(vectors_ND), callers):
            writer.write([f"{label}-{number}"], vectors_ND[number][None])

    threads = [threading.Thread(target=write, args=(caller,)) for caller in range(callers)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(vectors_ND) / (time.perf_counter() - start)


def print_singles(times: dict[str, list[list[float]]]) -> dict[str, Any]:
    """The figures of the single upserts, printed."""
    found = {}
    for name, rounds in times.items():
        figures: dict[str, Any] = {}
        for share in (50, 99):
            own, bare = ([float(np.percentile(r, share)) for r in times[who]] for who in (name, "SQLite"))
            figures |= {f"p{share} ms": float(np.median(own)), f"p{share} / SQLite": common.ratio(bare, own)}
        found[name] = figures | {"writes": sum(map(len, rounds))}
    head = ["single upserts", "p50 ms", "/ SQLite", "p99 ms", "/ SQLite", "writes"]
    print(common.table(head, [[name, *figures.values()] for name, figures in found.items()]), flush=True)
    return found


def print_bulk(found: dict[str, list[float]]) -> None:
    rows = [[name, float(np.median(r)), common.ratio(r, found["SQLite"])] for name, r in found.items()]
    print(f"\n{common.table(['bulk', 'points/s', '/ SQLite'], rows)}", flush=True)


def callers(given: Namespace, writers: dict[str, Writer], vectors_ND: Vectors) -> dict[str, Rates]:
    """By writer and number of callers, points per second in each round, printed."""
    found: dict[str, Rates] = {name: {count: [] for count in CALLERS} for name in writers}
    for turn in range(given.rounds):
        for count in CALLERS:
            for name, writer in writers.items():
                found[name][count].append(together(writer, vectors_ND, count, f"{turn}-{count}"))
    rows = []
    for count in CALLERS:
        own, bare = found["polylens"], found["SQLite"]
        cells: list[object] = [str(count)]
        for rates in (own, bare):
            cells += [float(np.median(rates[count])), common.ratio(rates[count], rates[1])]
        rows.append([*cells, common.ratio(own[count], bare[count])])
    head = ["callers", "polylens/s", "gain", "SQLite/s", "gain", "polylens / SQLite"]
    print(f"\n{common.table(head, rows)}", flush=True)
    return found


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--dim", type=int, default=512)
    options.add_argument("--single", type=int, default=1_000, help="upserts of one point, per round")
    options.add_argument("--bulk", type=int, default=40_960, help="points per round")
    options.add_argument("--size", type=int, default=4_096, help="points per call of the bulk")
    options.add_argument("--rounds", type=int, default=5)
    given = common.parse(options, "durable_writes", {"single": 50, "bulk": 2_000, "size": 500, "rounds": 2})
    before = common.machine()
    vectors_ND = Mixture(given.dim, 100).draw(max(given.single, given.bulk), seed=1)
    print(f"{before['cpu']}, {before['cores']} cores; {given.dim} wide, {given.rounds} rounds\n")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        writers = {name: kind(Path(folder), given.dim) for name, kind in KINDS.items()}
        single = print_singles(singles(writers, vectors_ND[: given.single], given.rounds))
        rates = bulk(writers, vectors_ND[: given.bulk], given.rounds, given.size)
        print_bulk(rates)
        many = callers(given, writers, vectors_ND[: given.single])
        for writer in writers.values():
            writer.close()
    common.save(given, before, [{"single": single}, {"bulk": rates}, {"callers": many}])


if __name__ == "__main__":
    main()
