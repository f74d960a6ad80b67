"""How long a collection takes to open, with its FAISS files and without, over reading its bytes.

Prints a markdown table and writes all figures as JSON. One collection is filled and sealed; copies are opened
in turn:
- `whole`: as it was closed: every file is checked, then the index is read;
- `no index files`: all files of `segments` are gone, so the vectors come from the database, every row
  checked; the collection must then answer exactly, which is seen to by comparing with brute force;
- `never sealed`: the same rows before sealing.

A time runs from `Collection.open` to the answer to a first search. `read`: only reading, in blocks of 1 MiB,
the files the opening is made from (`segments` for a whole one, else the database). `/ read` is the median
over the rounds of opening over reading just before: 1 would be as fast as the disk. `cold` asks the kernel to
forget the files first (posix_fadvise), `warm` reads them first. After a clean close; after a crash the
database is checked as well.

    python benchmarks/reopen.py --quick
    python benchmarks/reopen.py --rows 1000000 --dim 512 --index IVF1024,Flat  # 10 GB of disk, 6 of memory
"""

import itertools
import os
import shutil
import statistics
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import common
import numpy as np
from common import Mixture, Vectors
from index_types import K, fill, sealed
from numpy.typing import NDArray
from polylens.index import Collection

FORMS = ("whole", "no index files", "never sealed")
MIB = 2**20


def prepare(given: Namespace, root: Path, vectors_ND: Vectors) -> None:
    """The three folders."""
    fill(root / FORMS[2], vectors_ND)
    shutil.copytree(root / FORMS[2], root / FORMS[0])
    with Collection.open(root / FORMS[0], background=False) as collection:
        seconds, parameters = sealed(collection, given.index)
    print(f"sealed as {given.index} {parameters} in {seconds:.0f} s\n", flush=True)


def sources(folder: Path, form: str) -> list[Path]:
    """The files that the opening is made from."""
    files = (folder / "segments").iterdir() if form == FORMS[0] else folder.glob("collection.db")
    return sorted(file for file in files if file.is_file())


def read(files: list[Path]) -> float:
    """The seconds that reading the files once takes."""
    buffer = bytearray(MIB)
    start = time.perf_counter()
    for file in files:
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass
    return time.perf_counter() - start


def forget(folder: Path) -> None:
    """Lets the kernel drop the folder's files from its cache."""
    for file in filter(Path.is_file, folder.rglob("*")):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def opened(folder: Path, query_D: Vectors, truth_K: NDArray[np.int64], least: float) -> float:
    """The seconds to the first answer; ends the program if that answer is too far from brute force."""
    start = time.perf_counter()
    with Collection.open(folder, background=False) as collection:
        found = [int(id) for id in collection.search(query_D[None], K)[0].ids]
        seconds = time.perf_counter() - start
    if len({*found} & {*truth_K.tolist()}) < least * K:
        raise SystemExit(f"{folder.name}: found {found}, expected {truth_K.tolist()}")
    return seconds


def time_forms(
    given: Namespace, root: Path, queries_QD: Vectors, truth_QK: NDArray[np.int64]
) -> dict[str, list[tuple[float, float]]]:
    """By form and state of the cache, the seconds of opening and of reading in each round."""
    times: dict[str, list[tuple[float, float]]] = {}
    for turn in range(given.rounds):
        for form, state in itertools.product(FORMS, ("cold", "warm")):
            folder = root / form
            if form == FORMS[1]:  # a copy each time: an opening may note what was missing, and mend it
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(root / FORMS[0], folder, ignore=shutil.ignore_patterns("*.rows", "*.faiss"))
            files = sources(folder, form)
            least = given.least if form == FORMS[0] else 1
            if state == "warm":
                read(files)
            else:
                forget(folder)
            plain = read(files)
            if state == "cold":
                forget(folder)
            own = opened(folder, queries_QD[turn], truth_QK[turn], least)
            times.setdefault(f"{form}, {state}", []).append((own, plain))
    return times


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--dim", type=int, default=512)
    options.add_argument("--index", default="IVF256,Flat", help="FAISS factory string of the sealed segment")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--least", type=float, default=0.5, help="recall below which an indexed answer is refused"
    )
    quick = {"rows": 3_000, "dim": 64, "index": "IVF16,Flat", "rounds": 2}
    given = common.parse(options, "reopen", quick)
    before = common.machine()
    mixture = Mixture(given.dim, max(8, round(given.rows**0.5)))
    vectors_ND, queries_QD = mixture.draw(given.rows, seed=1), mixture.draw(given.rounds, seed=2)
    truth_QK = common.neighbours(vectors_ND, queries_QD, K)
    print(f"{before['cpu']}, {before['cores']} cores; {given.rows:,} x {given.dim}, {given.rounds} rounds")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        prepare(given, Path(name), vectors_ND)
        times = time_forms(given, Path(name), queries_QD, truth_QK)
        sizes = {form: sum(f.stat().st_size for f in sources(Path(name) / form, form)) for form in FORMS}
    rows = []
    for label, pairs in times.items():
        own, plain = (list(column) for column in zip(*pairs, strict=True))
        size = sizes[label.rpartition(",")[0]] // MIB
        rows.append([label, statistics.median(own), statistics.median(plain), common.ratio(own, plain), size])
    print(common.table(["opening", "s", "read s", "/ read", "MiB"], rows))
    common.save(given, before, [{"times": times, "bytes": sizes}])


if __name__ == "__main__":
    main()
