"""Vector stores behind one small interface, for vector_stores.py. Each is used as its own guide says.

A store is told only row numbers, vectors and two integer fields: `share`, 7 in one row of a hundred, and
`tenth`, 3 in one of ten. `width` is how many places an approximate search looks at; each store has a name of
its own for it.
"""

import contextlib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from common import Found, Vectors, lists
from polylens.index import Collection, Effort, Equal

BULK = 4_096
FIELDS = {"share": 100, "tenth": 10}  # field: rows of one value, one in so many
Where = tuple[str, int] | None  # a field and its value


def fields(number: int) -> dict[str, int]:
    """The metadata of a row."""
    return {field: number % parts for field, parts in FIELDS.items()}


def parts(vectors_ND: Vectors) -> list[tuple[range, Vectors]]:
    """Row numbers and vectors in bulks."""
    starts = range(0, len(vectors_ND), BULK)
    cut = [(start, vectors_ND[start : start + BULK]) for start in starts]
    return [(range(start, start + len(part)), part) for start, part in cut]


class Store:
    """An open store in a folder of its own; what is missing here every store has to have."""

    name: ClassVar[str]
    package: ClassVar[str]  # as pip knows it
    imports: ClassVar[Sequence[str]]  # the modules it needs, the one used most first
    widths: ClassVar[Sequence[int]] = ()  # to choose from, ascending; none: it searches exactly
    filters: ClassVar[bool] = True

    def __init__(self, folder: Path, dim: int) -> None:
        raise NotImplementedError

    @classmethod
    def installed(cls) -> bool:
        """Whether its modules can be imported; they are, once."""
        with contextlib.suppress(ImportError):
            return bool([importlib.import_module(name) for name in cls.imports])
        return False

    @property
    def module(self) -> Any:
        """The module used most."""
        return sys.modules[self.imports[0]]

    def ingest(self, vectors_ND: Vectors) -> None:
        """Stores the rows."""
        raise NotImplementedError

    def build(self, rows: int) -> None:
        """Builds what searches need, after all rows are in."""

    def search(self, queries_QD: Vectors, k: int, width: int, where: Where) -> Found:
        """For each query the numbers of the rows found."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of the folder."""


class PolylensExact(Store):
    name, package = "polylens, exact", "polylens"
    imports = ("polylens.index",)

    def __init__(self, folder: Path, dim: int) -> None:
        made = not folder.exists()
        if made:
            Collection.create(folder, dim=dim, fingerprint="benchmark").close()
        self.collection = Collection.open(folder, background=False)

    def ingest(self, vectors_ND: Vectors) -> None:
        for numbers, part in parts(vectors_ND):
            self.collection.upsert(map(str, numbers), part, map(fields, numbers))

    def effort(self, width: int) -> Effort:
        return Effort(exact=True)

    def search(self, queries_QD: Vectors, k: int, width: int, where: Where) -> Found:
        condition = None if where is None else Equal(*where)
        found = self.collection.search(queries_QD, k, condition, effort=self.effort(width))
        return [[int(id) for id in hits.ids] for hits in found]

    def close(self) -> None:
        self.collection.close()


class Polylens(PolylensExact):
    name = "polylens"
    widths = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128)

    def build(self, rows: int) -> None:
        self.collection.configure(index=f"IVF{lists(rows)},Flat")
        self.collection.seal()

    def effort(self, width: int) -> Effort:
        return Effort(nprobe=width)


class PolylensGraph(Polylens):
    name = "polylens, HNSW32"
    widths = (10, 16, 24, 32, 48, 64, 96, 128, 256)

    def build(self, rows: int) -> None:
        self.collection.configure(index="HNSW32")
        self.collection.seal()

    def effort(self, width: int) -> Effort:
        return Effort(ef_search=width)


class Qdrant(Store):
    """Local mode: vectors in memory, points in SQLite; searches exactly."""

    name, package = "qdrant-client, local", "qdrant-client"
    imports = ("qdrant_client",)

    def __init__(self, folder: Path, dim: int) -> None:
        self._models = self.module.models
        self._client = self.module.QdrantClient(path=str(folder))
        if not self._client.collection_exists("c"):
            vectors = self._models.VectorParams(size=dim, distance=self._models.Distance.DOT)
            self._client.create_collection("c", vectors_config=vectors)

    def ingest(self, vectors_ND: Vectors) -> None:
        for numbers, part in parts(vectors_ND):
            payloads = list(map(fields, numbers))
            points = self._models.Batch(ids=list(numbers), vectors=part.tolist(), payloads=payloads)
            self._client.upsert("c", points)

    def search(self, queries_QD: Vectors, k: int, width: int, where: Where) -> Found:
        models, condition = self._models, None
        if where is not None:
            match = models.FieldCondition(key=where[0], match=models.MatchValue(value=where[1]))
            condition = models.Filter(must=[match])
        requests = [
            models.QueryRequest(query=query, limit=k, filter=condition) for query in queries_QD.tolist()
        ]
        replies = self._client.query_batch_points("c", requests)
        return [[point.id for point in reply.points] for reply in replies]

    def close(self) -> None:
        self._client.close()


class Milvus(Store):
    """Milvus Lite with the graph index that it builds where faiss is installed."""

    name, package = "milvus-lite, HNSW", "milvus-lite"
    imports = ("pymilvus", "milvus_lite")
    widths = (10, 16, 24, 32, 48, 64, 96, 128, 256)

    def __init__(self, folder: Path, dim: int) -> None:
        folder.mkdir(exist_ok=True)
        self._client = self.module.MilvusClient(str(folder / "milvus.db"))
        if not self._client.has_collection("c"):
            types, schema = self.module.DataType, self._client.create_schema()
            schema.add_field("id", types.INT64, is_primary=True)
            schema.add_field("vector", types.FLOAT_VECTOR, dim=dim)
            for field in FIELDS:
                schema.add_field(field, types.INT64)
            self._client.create_collection("c", schema=schema)
        elif self._client.list_indexes("c"):
            self._client.load_collection("c")

    def ingest(self, vectors_ND: Vectors) -> None:
        for numbers, part in parts(vectors_ND):
            rows = [
                {"id": number, "vector": vector, **fields(number)}
                for number, vector in zip(numbers, part, strict=True)
            ]
            self._client.insert("c", rows)
        self._client.flush("c")

    def build(self, rows: int) -> None:
        index = self._client.prepare_index_params()
        settings = {"M": 16, "efConstruction": 100}
        index.add_index("vector", index_type="HNSW", metric_type="IP", params=settings)
        self._client.create_index("c", index)
        self._client.load_collection("c")

    def search(self, queries_QD: Vectors, k: int, width: int, where: Where) -> Found:
        replies = self._client.search(
            "c",
            data=list(queries_QD),
            limit=k,
            anns_field="vector",
            filter="" if where is None else f"{where[0]} == {where[1]}",
            search_params={"metric_type": "IP", "params": {"ef": max(width, k)}},
        )
        return [[hit["id"] for hit in reply] for reply in replies]

    def close(self) -> None:
        self._client.close()


class Lance(Store):
    """LanceDB with IVF over whole vectors, and an index on each field."""

    name, package = "lancedb, IVF_FLAT", "lancedb"
    imports = ("lancedb", "pyarrow")
    widths = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128)

    def __init__(self, folder: Path, dim: int) -> None:
        self._arrow: Any = sys.modules["pyarrow"]
        self._database = self.module.connect(str(folder))
        types = {"id": self._arrow.int64(), "vector": self._arrow.list_(self._arrow.float32(), dim)}
        types |= {field: self._arrow.int64() for field in FIELDS}
        self._schema = self._arrow.schema(types)
        self._table = self._database.create_table("c", schema=self._schema, exist_ok=True)

    def ingest(self, vectors_ND: Vectors) -> None:
        for numbers, part in parts(vectors_ND):
            flat = self._arrow.array(part.ravel())
            columns = {
                "id": np.asarray(numbers),
                "vector": self._arrow.FixedSizeListArray.from_arrays(flat, part.shape[1]),
            }
            columns |= {field: np.asarray(numbers) % count for field, count in FIELDS.items()}
            self._table.add(self._arrow.table(columns, schema=self._schema))

    def build(self, rows: int) -> None:
        self._table.create_index("dot", num_partitions=lists(rows), index_type="IVF_FLAT")
        for field in FIELDS:
            self._table.create_scalar_index(field, index_type="BITMAP")

    def search(self, queries_QD: Vectors, k: int, width: int, where: Where) -> Found:
        query = self._table.search(list(queries_QD)).distance_type("dot").nprobes(width).limit(k)
        if where is not None:
            query = query.where(f"{where[0]} = {where[1]}", prefilter=True)
        found = query.select(["id", "_distance"]).to_arrow()
        names: list[list[int]] = [[] for _ in queries_QD]
        numbers = (
            found["query_index"].to_pylist() if "query_index" in found.column_names else [0] * len(found)
        )
        for query_number, id in zip(numbers, found["id"].to_pylist(), strict=True):
            names[query_number].append(id)
        return names


class Usearch(Store):
    """usearch: an index in one file, without metadata or filters; saved once at the end."""

    name, package = "usearch, HNSW", "usearch"
    imports = ("usearch.index",)
    widths = (10, 16, 24, 32, 48, 64, 96, 128, 256)
    filters = False

    def __init__(self, folder: Path, dim: int) -> None:
        folder.mkdir(exist_ok=True)
        self._file = str(folder / "index.usearch")
        self._index: Any = self.module.Index(ndim=dim, metric="ip", dtype="f32")
        if Path(self._file).exists():
            self._index.load(self._file)

    def ingest(self, vectors_ND: Vectors) -> None:
        for numbers, part in parts(vectors_ND):
            self._index.add(np.asarray(numbers, np.uint64), part)

    def build(self, rows: int) -> None:
        self._index.save(self._file)

    def search(self, queries_QD: Vectors, k: int, width: int, where: Where) -> Found:
        self._index.expansion_search = width
        found = np.asarray(self._index.search(queries_QD, k).keys)
        return found.reshape(len(queries_QD), -1).tolist()


STORES: tuple[type[Store], ...] = (
    PolylensExact,
    Polylens,
    PolylensGraph,
    Qdrant,
    Milvus,
    Lance,
    Usearch,
)
