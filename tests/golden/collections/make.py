"""python make.py NAME [OPTIONS AS JSON]: NAME.tar.gz, a small collection, and NAME.json, what it answers.

To be run once for every format, by the polylens that introduced it. format_1 is by the last version that
wrote format 1; format_2 has the options {"metric": "inner_product", "dtype": "float16"} and a sealed segment;
format_3 has these options too, and rows that are only in a segment.
"""

import json
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from polylens import index
from polylens.index import Collection, Range


def main() -> None:
    name, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    generator = np.random.default_rng(3)
    vectors = generator.standard_normal((30, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    metadata = [{"n": n, "name": "鳥" * (n % 3), "tags": ["a", n % 4]} for n in range(30)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "collection"
        with Collection.create(path, dim=6, fingerprint="golden-model", **options) as collection:
            collection.upsert([f"id{n}" for n in range(30)], vectors, metadata)
            if hasattr(collection, "seal"):
                collection.seal()
            if hasattr(collection, "adopt"):
                ids = [f"imported{n}" for n in range(12)]
                collection.adopt(index.Bulk("part", ids, ['{"n": 24}'] * 12, -vectors[:12]))
            collection.upsert(["id3", "id4"], vectors[:2], [{"n": 103}, {"n": 104}])
            collection.delete(["id5", "id6"])
            answer = answers(collection, vectors[[1, 7]])
        with tarfile.open(f"{name}.tar.gz", "w:gz") as archive:
            archive.add(path, arcname="collection")
    Path(f"{name}.json").write_text(json.dumps(answer, ensure_ascii=False, indent=0))


def answers(collection: Collection, queries: np.ndarray) -> dict:
    searches = (collection.search(queries, 5), collection.search(queries, 5, Range("n", gte=20)))
    return {
        "queries": [query.tobytes().hex() for query in queries],
        "searches": [[[hits.ids, hits.scores.tobytes().hex()] for hits in found] for found in searches],
        "records": [
            [record.id, record.version, record.metadata, record.vector.tobytes().hex()]
            for record in collection.scan(1_000)
        ],
    }


if __name__ == "__main__":
    main()
