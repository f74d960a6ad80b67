"""polylens against other vector stores that run inside the calling process, at equal recall.

Prints markdown tables and writes all figures as JSON. All stores get the same made vectors (see `Mixture` in
common.py) with two integer fields, and are then asked the same queries in turn, round by round, in one
process.

- `ingest`: points per second until all are stored, in calls of 4,096; `index`: the seconds of building an
  index after that; `ready`: both together. Each store is filled in a process of its own. Promises differ:
  polylens has synced every call to disk before it returns, usearch has written nothing until it is saved.
- `reopen`: from opening the folder to a first answer, in a fresh process, files in the kernel's cache,
  imports not counted; the median over the rounds.
- `search`, `filter 10 %`, `filter 1 %`: the ten nearest of all rows, or of those with one value of a field. A
  store with an approximate index looks as wide as it must to find `--recall` of the right answers, chosen for
  each table anew; where it cannot, it looks as wide as it may. `recall` is what it then found. A very slow
  search is timed once, and its recall taken from as many queries as fit 20 seconds.
- `polylens / it`: how many times as fast polylens is, the median over the rounds: for an exact store polylens
  searching exactly, for the others its fastest way that reaches the recall asked for. Above 1 polylens is
  ahead.

A store that is not installed is left out, with a sentence. One environment for all (Python 3.11):

    pip install '.[cpu]' qdrant-client milvus-lite pymilvus lancedb usearch

    python benchmarks/vector_stores.py --quick
    python benchmarks/vector_stores.py                    # 100,000 x 512; local Qdrant takes most of the time
    python benchmarks/vector_stores.py --only lancedb      # polylens and those with this in their name
"""

import multiprocessing
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import common
import numpy as np
from common import Found, Mixture, Search, Vectors
from numpy.typing import NDArray
from stores import FIELDS, STORES, PolylensExact, Store, Where

K = 10
CLUSTERS = 300
BATCHES = (1, 64)
T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """One table of searches."""

    label: str
    where: Where
    truth_QK: NDArray[np.int64]


def apart(call: Callable[..., T], *arguments: object) -> T:
    """What the call returns in a fresh process, which ends before this does."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def fill(kind: type[Store], folder: Path, data: Path) -> tuple[float, float]:
    """The seconds of storing and of building the index."""
    vectors_ND = np.load(data, allow_pickle=False)
    kind.installed()  # imports, which are not to be timed
    store = kind(folder, vectors_ND.shape[1])
    stored = common.seconds_of(lambda: store.ingest(vectors_ND))
    built = common.seconds_of(lambda: store.build(len(vectors_ND)))
    store.close()
    return stored, built


def reopen(kind: type[Store], folder: Path, query_D: Vectors) -> float:
    """The seconds from opening to a first answer."""
    kind.installed()  # imports, which are not to be timed
    start = time.perf_counter()
    store = kind(folder, len(query_D))
    store.search(query_D[None], K, max(kind.widths, default=0), None)
    seconds = time.perf_counter() - start
    store.close()
    return seconds


def prepare(given: Namespace, kinds: list[type[Store]], root: Path, vectors_ND: Vectors) -> dict[str, Any]:
    """By store, the seconds of storing and indexing and of each reopening; those that fail are left out."""
    data, found = root / "vectors.npy", dict[str, Any]()
    np.save(data, vectors_ND)
    for kind in kinds:
        try:
            stored, built = apart(fill, kind, root / kind.__name__, data)
        except Exception as error:
            print(f"{kind.name} failed, left out: {error!r:.300}", flush=True)
            continue
        found[kind.name] = {"stored": stored, "built": built, "reopened": []}
        found[kind.name]["bytes"] = common.folder_bytes(root / kind.__name__)
        print(f"{kind.name} filled in {stored + built:.1f} s", flush=True)
    for _ in range(given.rounds):
        for kind in kinds:
            if kind.name in found:
                seconds = apart(reopen, kind, root / kind.__name__, vectors_ND[0])
                found[kind.name]["reopened"].append(seconds)
    return found


def print_prepared(found: dict[str, Any], rows: int) -> None:
    """The table of storing and reopening."""
    lines = []
    own = next(found[name] for name in ("polylens", "polylens, exact") if name in found)
    for name, figures in found.items():
        ready = figures["stored"] + figures["built"]
        cells: list[object] = [name, rows / figures["stored"], figures["built"], ready]
        cells += [ready / (own["stored"] + own["built"]), figures["bytes"] / rows]
        reopened = figures["reopened"]
        cells += [statistics.median(reopened), common.ratio(reopened, own["reopened"])]
        lines.append(cells)
    head = [
        "store",
        "ingest/s",
        "index s",
        "ready s",
        "polylens / it",
        "bytes each",
        "reopen s",
        "polylens / it",
    ]
    print(f"\n{common.table(head, lines)}", flush=True)


def searcher(store: Store, width: int, where: Where) -> Search:
    """The store's search with everything but the queries fixed."""

    def search(queries_QD: Vectors) -> Found:
        return store.search(queries_QD, K, width, where)

    return search


def chosen(store: Store, task: Task, queries_QD: Vectors, least: float) -> tuple[int, float]:
    """The least width that reaches the recall, or the largest, and the recall at it."""
    for width in store.widths or (0,):
        recall = common.recall(searcher(store, width, task.where), queries_QD, task.truth_QK)
        if recall >= least:
            break
    return width, recall


def compare(given: Namespace, task: Task, stores: list[Store], queries_QD: Vectors) -> dict[str, Any]:
    """The figures of one task by store, printed as a table."""
    taking_part = [store for store in stores if store.filters or task.where is None]
    found: dict[str, Any] = {}
    searches = {}
    for store in taking_part:
        width, recall = chosen(store, task, queries_QD, given.recall)
        found[store.name] = {"width": width or None, "recall": recall, "exact": not store.widths}
        searches[store.name] = searcher(store, width, task.where)
    for batch in BATCHES:
        for name, rates in common.rates(searches, queries_QD, batch, given.rounds, given.seconds).items():
            found[name][batch] = rates
    own = [name for name in found if name.startswith("polylens")]
    lines = []
    for name, figures in found.items():
        cells: list[object] = [name, figures["width"], f"{figures['recall']:.3f}"]
        for batch in BATCHES:
            able = [
                n for n in own if found[n]["recall"] >= given.recall and found[n]["exact"] >= figures["exact"]
            ]
            best = max(able, key=lambda n: statistics.median(found[n][batch]), default=own[0])
            cells += [statistics.median(figures[batch]), common.ratio(found[best][batch], figures[batch])]
        lines.append(cells)
    head = ["store", "width", "recall", "1/s", "polylens / it", "64/s", "polylens / it"]
    print(f"\n{task.label}\n\n{common.table(head, lines)}", flush=True)
    return found


def tasks(vectors_ND: Vectors, queries_QD: Vectors) -> list[Task]:
    """Search among all rows, then among a tenth and a hundredth."""
    made = [Task("search", None, common.neighbours(vectors_ND, queries_QD, K))]
    for field, value in (("tenth", 3), ("share", 7)):
        chosen_rows = np.arange(value, len(vectors_ND), FIELDS[field])
        truth = common.neighbours(vectors_ND, queries_QD, K, chosen_rows)
        made.append(Task(f"filter {100 // FIELDS[field]} %", (field, value), truth))
    return made


def taking_part(only: list[str] | None) -> list[type[Store]]:
    """The stores to measure; says which are not installed."""
    asked = [
        kind
        for kind in STORES
        if only is None or issubclass(kind, PolylensExact) or any(word in kind.name for word in only)
    ]
    present = [kind for kind in asked if kind.installed()]
    for kind in asked:
        if kind not in present:
            print(f"{kind.package} is not installed, left out; install it with: pip install {kind.package}")
    return present


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--dim", type=int, default=512)
    options.add_argument("--queries", type=int, default=512)
    options.add_argument(
        "--recall", type=float, default=0.95, help="of the 10 nearest, that all have to reach"
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=0.5, help="that each store takes per round")
    options.add_argument("--only", nargs="+", help="parts of the names of stores")
    quick = {"rows": 3_000, "dim": 64, "queries": 64, "rounds": 2, "seconds": 0.05}
    given = common.parse(options, "vector_stores", quick)
    before, kinds = common.machine(), taking_part(given.only)
    mixture = Mixture(given.dim, CLUSTERS)
    vectors_ND, queries_QD = mixture.draw(given.rows, seed=1), mixture.draw(given.queries, seed=2)
    print(f"{before['cpu']}, {before['cores']} cores; {given.rows:,} x {given.dim}, {given.rounds} rounds\n")
    with tempfile.TemporaryDirectory(dir=given.folder, ignore_cleanup_errors=True) as folder:
        prepared = prepare(given, kinds, Path(folder), vectors_ND)
        print_prepared(prepared, given.rows)
        kinds = [kind for kind in kinds if kind.name in prepared]
        stores = [kind(Path(folder) / kind.__name__, given.dim) for kind in kinds]
        found = {t.label: compare(given, t, stores, queries_QD) for t in tasks(vectors_ND, queries_QD)}
        for store in stores:
            store.close()
    common.save(given, before, [{"prepared": prepared}, found])


if __name__ == "__main__":
    main()
