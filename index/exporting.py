"""A collection as parquet files: id, metadata as JSON text, vector; an export that was broken off goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InvalidInput, require
from ..whole import write_whole
from .collection import Collection
from .importing import EXPORTED
from .results import Record
from .source import MANIFEST

FILE_ROWS = 100_000
PAGE = 2_048
LAST = b"last version"  # in the metadata of each file: where the next one begins
Rows = Callable[[int, int], None]  # rows done, of how many


def export(collection: Collection, out: Path, progress: Rows, file_rows: int = FILE_ROWS) -> int:
    """The number of rows in `out`, which holds nothing else. Each file is there whole or not at all."""
    parquet: Any = require("pyarrow.parquet", "embed")
    out.mkdir(parents=True, exist_ok=True)
    paths = sorted(out.glob("items_*.parquet"))
    if (out / MANIFEST).exists() or {path.name for path in out.iterdir()} - {path.name for path in paths}:
        raise InvalidInput(f"{out} holds other files, expected an empty folder or an export to go on with")
    after = done = 0
    for path in paths:
        after = int(parquet.read_schema(path).metadata[LAST])
        done += parquet.ParquetFile(path).metadata.num_rows
    number = len(paths)
    while records := _records(collection, after, file_rows):
        after, done = records[-1].version, done + len(records)
        path = out / f"items_{number:05d}.parquet"
        table = _table(collection, records)
        write_whole(path, lambda part, table=table: parquet.write_table(table, part), sync=True)  # type: ignore[misc]
        number += 1
        progress(done, collection.count())
    manifest = {
        "made_by": EXPORTED,
        "fingerprint": collection.fingerprint,
        "dim": collection.dim,
        "metric": collection.metric,
        "dtype": collection.dtype,
        "rows": done,
    }
    write_whole(
        out / MANIFEST, lambda path: path.write_text(json.dumps(manifest, indent=1) + "\n"), sync=True
    )
    return done


def _records(collection: Collection, after: int, limit: int) -> list[Record]:
    records: list[Record] = []
    while len(records) < limit and (page := collection.scan(min(PAGE, limit - len(records)), after)):
        records += page
        after = page[-1].version
    return records


def _table(collection: Collection, records: list[Record]) -> Any:
    pyarrow: Any = require("pyarrow", "embed")
    kind = pyarrow.float16() if collection.dtype == "float16" else pyarrow.float32()
    flat = np.concatenate([record.vector for record in records if record.vector is not None])
    vectors = pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(flat.astype(collection.dtype), kind), collection.dim
    )
    columns = {
        "id": [record.id for record in records],
        "metadata": [json.dumps(record.metadata, ensure_ascii=False) for record in records],
        "vector": vectors,
    }
    return pyarrow.table(columns).replace_schema_metadata({LAST: str(records[-1].version).encode()})
