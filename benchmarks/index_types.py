"""What each index type costs and finds, and what a collection takes off the speed of raw FAISS.

Prints a markdown table for each number of rows, and writes all figures as JSON. For each index type one
collection is sealed (in one segment) and one raw FAISS index is built of the same vectors, by the same
factory string. Then both answer the same queries in turn, with the search parameters the collection has tuned
itself to.

- `build s`: sealing: training, adding, tuning, files with checksum and fsync; `raw s`: FAISS training and
  adding;
- `index B`: bytes per vector of the FAISS file; `rows B`: of the vectors kept beside it for exact scores;
  `database B`: of SQLite, the truth both are made from;
- `recall`, `raw recall`: the share of the 10 nearest found, against brute force. The collection scores its
  candidates again exactly, so it finds more than raw FAISS does where the index holds compressed vectors;
- `1/s`, `64/s`: queries per second of the collection, asked one or 64 at a time, with ids and empty metadata;
- `/ raw`: over raw FAISS, which gives positions and scores: the median over the rounds. Aims: 0.7 and 0.9.

`tail` is a collection that was never sealed, searched exactly; `Flat` a sealed one without an index. Both,
and `raw` of them, are exhaustive.

The vectors are made (see `Mixture` in common.py): clusters of unequal sizes, about as many as the root of the
number of rows, overlapping, some 30 of the axes carrying most of the variance. Queries come from the same
mixture.

    python benchmarks/index_types.py --quick                            # under a minute
    python benchmarks/index_types.py --rows 10000 100000                # 768 wide, 2 GB
    python benchmarks/index_types.py --rows 1000000 --raw read          # 15 GB of memory, 20 GB of disk
"""

import shutil
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import faiss
from common import Mixture, Vectors
from polylens.index import Collection

K = 10
TAIL = "tail"
BULK = 4_096
KNOBS = {"nprobe": "nprobe", "ef_search": "efSearch"}  # our names: FAISS's
HEAD = (
    "type build~s raw~s index~B rows~B database~B parameters recall raw~recall 1/s /~raw 64/s /~raw".split()
)


def types(rows: int, dim: int) -> list[str]:
    """Index types for so many rows; product codes have a byte for 8 to 15 axes."""
    lists = common.lists(rows)
    part = next(part for part in (64, 48, 32, 16, 8, 4, 2, 1) if dim % part == 0 and dim >= 8 * part)
    return [
        TAIL,
        "Flat",
        "SQfp16",
        f"IVF{lists},Flat",
        f"IVF{lists},SQfp16",
        f"OPQ{part}_{min(dim, 4 * part)},IVF{lists},PQ{part}",
        "HNSW32",
    ]


def fill(folder: Path, vectors_ND: Vectors) -> None:
    """A collection of these vectors, not sealed; the id of a row is its number."""
    Collection.create(folder, dim=vectors_ND.shape[1], fingerprint="benchmark").close()
    with Collection.open(folder, background=False) as collection:
        for first in range(0, len(vectors_ND), BULK):
            part = vectors_ND[first : first + BULK]
            collection.upsert(map(str, range(first, first + len(part))), part)


def built(factory: str, vectors_ND: Vectors) -> Any:
    """A FAISS index of the vectors, with FAISS's own settings for training."""
    index = faiss.index_factory(vectors_ND.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors_ND)
    index.add(vectors_ND)
    return index


def sealed(collection: Collection, factory: str) -> tuple[float, dict[str, int]]:
    """The seconds that sealing took, and the parameters the segment was tuned to."""
    collection.configure(index=factory)
    seconds = common.seconds_of(collection.seal)
    segments = collection.info().segments
    if [segment.factory for segment in segments] != [factory]:
        raise SystemExit(f"asked for {factory}, sealed {[segment.factory for segment in segments]}")
    return seconds, dict(segments[0].parameters)


def raw(
    given: Namespace, folder: Path, factory: str, parameters: dict[str, int], vectors_ND: Vectors
) -> tuple[Any, float | None]:
    """FAISS's index with these parameters, and how long it took to build; None if it was read."""
    index, seconds = None, None
    files = list(folder.rglob("*.faiss"))
    if given.raw == "read" and files:
        index = faiss.read_index(str(files[0]))
    else:

        def build() -> None:
            nonlocal index
            index = built("Flat" if factory == TAIL else factory, vectors_ND)

        seconds = common.seconds_of(build)
    for name in KNOBS.keys() & parameters.keys():
        faiss.ParameterSpace().set_index_parameter(index, KNOBS[name], parameters[name])
    return index, seconds


def measure(
    given: Namespace, folder: Path, factory: str, vectors_ND: Vectors, queries_QD: Vectors, truth: Any
) -> dict[str, Any]:
    """All figures of one index type."""
    rows = len(vectors_ND)
    with Collection.open(folder, background=False) as collection:
        seconds, parameters = (None, {}) if factory == TAIL else sealed(collection, factory)
        index, raw_seconds = raw(given, folder, factory, parameters, vectors_ND)
        searches = {
            "own": lambda queries: [[int(id) for id in hits.ids] for hits in collection.search(queries, K)],
            "raw": lambda queries: index.search(queries, K)[1].tolist(),
        }
        figures = {
            "rows": rows,
            "type": factory,
            "parameters": parameters,
            "build s": seconds,
            "raw build s": None if factory == TAIL else raw_seconds,
            "index bytes": common.folder_bytes(folder, "*.faiss") / rows,
            "rows bytes": common.folder_bytes(folder, "*.rows") / rows,
            "database bytes": common.folder_bytes(folder, "collection.db*") / rows,
        }
        for name, search in searches.items():
            figures[f"{name} recall"] = common.recall(search, queries_QD, truth)
        for batch in (1, 64):
            rates = common.rates(searches, queries_QD, batch, given.rounds, given.seconds)
            figures[f"batch {batch}"] = rates | {"ratio": common.ratio(rates["own"], rates["raw"])}
    return figures


def line(figures: dict[str, Any]) -> list[object]:
    """One line of the table."""
    knobs = figures["parameters"]
    parameters = " ".join(f"{name}={knobs[name]}" for name in (*KNOBS, "fetch") if name in knobs)
    cells: list[object] = [figures["type"], figures["build s"], figures["raw build s"]]
    cells += [figures[f"{what} bytes"] for what in ("index", "rows", "database")]
    cells += [parameters, *(f"{figures[f'{who} recall']:.3f}" for who in ("own", "raw"))]
    for batch in ("batch 1", "batch 64"):
        rates = figures[batch]
        cells += [sorted(rates["own"])[len(rates["own"]) // 2], f"{rates['ratio']:.2f}"]
    return cells


def compare(
    given: Namespace, rows: int, root: Path, earlier: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The figures of every index type for so many rows, printed as a table."""
    mixture = Mixture(given.dim, max(8, round(rows**0.5)), given.spread)
    vectors_ND, queries_QD = mixture.draw(rows, seed=1), mixture.draw(given.queries, seed=2)
    truth = common.neighbours(vectors_ND, queries_QD, K)
    near = [float((queries_QD * vectors_ND[truth[:, rank]]).sum(1).mean()) for rank in (0, K - 1)]
    print(f"\n{rows:,} x {given.dim}; cosine of neighbours 1 and {K}: {near[0]:.2f}, {near[1]:.2f}\n")
    fill(root / "filled", vectors_ND)
    results: list[dict[str, Any]] = []
    skipped: list[str] = []
    for factory in given.types or types(rows, given.dim):
        before = [f for f in earlier if f["type"].split(",")[0] == factory == "HNSW32"]
        # Building a graph takes a little more than in proportion.
        if before and (guess := 1.2 * before[-1]["build s"] * rows / before[-1]["rows"]) > given.longest:
            skipped.append(f"{factory} left out: building it would take about {guess / 60:.0f} minutes")
            continue
        shutil.copytree(root / "filled", root / "used")
        results.append(measure(given, root / "used", factory, vectors_ND, queries_QD, truth))
        shutil.rmtree(root / "used")
        print(f"  {factory} measured", flush=True)
    shutil.rmtree(root / "filled")
    head = [word.replace("~", " ") for word in HEAD]
    print(f"\n{common.table(head, map(line, results))}\n" + "\n".join(skipped), flush=True)
    return results


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options.add_argument("--dim", type=int, default=768)
    options.add_argument("--types", nargs="+", help="FAISS factory strings, or tail; default: see the table")
    options.add_argument("--queries", type=int, default=512)
    options.add_argument("--spread", type=float, default=1.0, help="of the clusters: less is easier")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=1.0, help="that each contender takes per round")
    options.add_argument(
        "--longest", type=float, default=600, help="seconds; graphs that take longer are left out"
    )
    options.add_argument(
        "--raw", choices=("build", "read"), default="build", help="read: the raw index is the segment's file"
    )
    quick = {"rows": [10_000], "dim": 64, "queries": 128, "rounds": 3, "seconds": 0.1}
    given = common.parse(options, "index_types", quick)
    before, results = common.machine(), list[dict[str, Any]]()
    print(f"{before['cpu']}, {before['cores']} cores, faiss {before['faiss']}, {given.rounds} rounds")
    for rows in sorted(given.rows):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            results += compare(given, rows, Path(folder), results)
    common.save(given, before, results)


if __name__ == "__main__":
    main()
