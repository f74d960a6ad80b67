"""Rows per second into a collection: a folder of vectors imported, and the same rows upserted.

Prints a markdown table and writes all figures as JSON. The folder is laid out as clip-retrieval does it
(float16 vectors in .npy files, metadata in parquet). Contenders take turns, each in a fresh process:

- `import`: `polylens collection import`, without building indexes: vectors are checked, hashed, written once
  as segments and synced; ids and metadata go to SQLite;
- `upsert`: the same rows and metadata by `Collection.upsert` in calls of 4,096, each synced;
- `copy`: the vectors' bytes read and written to another file, with one fsync at the end: what a disk takes.

`bytes` is the size of the folder that came of it per row, `peak MB` the largest memory of the process.

    python benchmarks/import_rate.py --quick
    python benchmarks/import_rate.py --rows 1000000 --dim 768
"""

import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import common
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from common import Mixture
from polylens.index import Collection
from polylens.index.importing import import_source
from polylens.index.source import find, load_array

FILE_ROWS = 10_000
BULK = 4_096


def write_folder(folder: Path, rows: int, dim: int) -> None:
    """Writes vectors and metadata in files of 10,000 rows."""
    mixture = Mixture(dim, max(8, round(rows**0.5)))
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - start)
        np.save(folder / f"img_emb/img_emb_{number}.npy", mixture.draw(count, number).astype(np.float16))
        ids = [f"{number:05d}/{n:07d}.jpg" for n in range(count)]
        table = pyarrow.table({"id": ids, "caption": [f"a picture of thing {n}" for n in range(count)]})
        parquet.write_table(table, folder / f"metadata/metadata_{number}.parquet")


def imported(source: Path, target: Path) -> None:
    """Imports the folder."""
    found = find(source)
    with Collection.create(target, dim=found.dim, fingerprint="benchmark", dtype=found.dtype) as collection:
        import_source(collection, found, progress=lambda *_: None, steps=lambda *_: None)


def upserted(source: Path, target: Path) -> None:
    """Upserts its rows."""
    dim = find(source).dim
    Collection.create(target, dim=dim, fingerprint="benchmark", dtype="float16").close()
    with Collection.open(target, background=False) as collection:
        for path in sorted((source / "img_emb").iterdir()):
            vectors = load_array(path)
            name = path.name.replace("img_emb", "metadata").replace(".npy", ".parquet")
            notes = parquet.read_table(source / "metadata" / name).to_pylist()
            for start in range(0, len(vectors), BULK):
                part = notes[start : start + BULK]
                collection.upsert([note["id"] for note in part], vectors[start : start + BULK], part)


def copied(source: Path, target: Path) -> None:
    """Copies the vectors."""
    target.mkdir()
    with (target / "vectors").open("wb") as file:
        for path in sorted((source / "img_emb").iterdir()):
            file.write(path.read_bytes())
        file.flush()
        os.fsync(file.fileno())


WAYS = {"import": imported, "upsert": upserted, "copy": copied}


def timed(way: str, source: Path, target: Path) -> tuple[float, int, float]:
    """Seconds, bytes of what came of it, and the process's largest memory in MB."""
    begun = time.perf_counter()
    WAYS[way](source, target)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return seconds, common.folder_bytes(target), peak


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--rows", type=int, default=300_000)
    options.add_argument("--dim", type=int, default=512)
    options.add_argument("--rounds", type=int, default=2)
    given = common.parse(options, "import_rate", {"rows": 20_000, "dim": 64, "rounds": 1})
    machine = common.machine()
    found: dict[str, list[tuple[float, int, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        source = Path(folder) / "source"
        write_folder(source, given.rows, given.dim)
        for turn in range(given.rounds):
            for way in WAYS:
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    target = Path(folder) / f"{way}{turn}"
                    found[way].append(pool.submit(timed, way, source, target).result())
    results: list[dict[str, Any]] = [
        {
            "way": way,
            "rows per second": given.rows / statistics.median(seconds for seconds, _, _ in runs),
            "bytes per row": runs[-1][1] / given.rows,
            "peak MB": max(peak for _, _, peak in runs),
        }
        for way, runs in found.items()
    ]
    print(common.table(list(results[0]), [list(one.values()) for one in results]))
    common.save(given, machine, results)


if __name__ == "__main__":
    main()
