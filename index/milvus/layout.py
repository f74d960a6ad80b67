"""What a collection looks like in Milvus: its name there, the fields of a row, the kind of its index.

A row's primary key is the hexadecimal form of the item's id, so that no id needs quoting in an expression.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import InvalidInput
from ..errors import Unsupported
from ..plan import Effort
from ..policy import AUTO
from ..schema import Identity
from ..validation import MAX_ID_BYTES, MAX_METADATA_BYTES
from .connection import STRONG, Connection
from .tokens import MAX_TOKENS, TOKEN_BYTES

LISTS = 1_024  # of the usual index, in each of Milvus's own segments
SHARE = 16  # so that 1/16 of the lists is looked at
EF = 128
IVF = re.compile(r"IVF([1-9]\d{0,4}),(Flat|SQ8|PQ([1-9]\d{0,3}))")
HNSW = re.compile(r"HNSW([1-9]\d{0,2})")
KINDS = '"auto", "Flat", "HNSW32", "IVF1024,Flat", "IVF1024,SQ8" or "IVF1024,PQ64"'


def registry(namespace: str) -> str:
    """The name of the collection that lists the others."""
    return f"polylens_{_escaped(namespace)}"


def table(namespace: str, name: str) -> str:
    """The name in Milvus, of letters, digits and underscores, of the collection that we call `name`."""
    return f"{registry(namespace)}__{_escaped(name)}"


def _escaped(name: str) -> str:
    return re.sub(r"[^a-z0-9]", lambda found: f"_{ord(found[0]):02x}", name)


def key(id: str) -> str:
    """The primary key of an item."""
    return id.encode().hex()


def id_of(key: str) -> str:
    """The id of the item with this primary key."""
    return bytes.fromhex(key).decode()


@dataclass(frozen=True, slots=True)
class Kind:
    """An index of Milvus: how it is made and asked; `exact` makes it find everything, if anything does."""

    type: str
    made: Mapping[str, int] = field(default_factory=dict)
    usual: Mapping[str, int] = field(default_factory=dict)
    exact: Mapping[str, int] | None = None
    lossless: bool = True

    def asked(self, effort: Effort, count: int) -> dict[str, int]:
        """Milvus's search parameters for so many candidates."""
        if effort.exact:
            if self.exact is None:
                raise Unsupported(
                    f"the index {self.type} of a collection in Milvus cannot be searched exactly,"
                    ' as "Flat" and "IVF1024,Flat" can'
                )
            return dict(self.exact)
        params = dict(self.usual)
        if "nprobe" in params and effort.nprobe is not None:
            params["nprobe"] = min(effort.nprobe, self.made["nlist"])
        if "ef" in params:
            params["ef"] = max(effort.ef_search or params["ef"], count)
        return params


def kind(factory: str, lite: bool) -> Kind:
    """The index that a FAISS factory string stands for here."""
    if factory == AUTO:
        factory = "Flat" if lite else f"IVF{LISTS},Flat"
    if factory == "Flat":
        return Kind("FLAT", exact={})
    if found := HNSW.fullmatch(factory):
        return Kind("HNSW", {"M": int(found[1]), "efConstruction": 200}, {"ef": EF})
    if found := IVF.fullmatch(factory):
        lists = int(found[1])
        usual, full = {"nprobe": max(1, lists // SHARE)}, {"nprobe": lists}
        if found[2] == "Flat":
            return Kind("IVF_FLAT", {"nlist": lists}, usual, full)
        if found[2] == "SQ8":
            return Kind("IVF_SQ8", {"nlist": lists}, usual, lossless=False)
        return Kind("IVF_PQ", {"nlist": lists, "m": int(found[3]), "nbits": 8}, usual, lossless=False)
    raise Unsupported(f"index is {factory!r:.80}; in Milvus it is {KINDS}")


def checked(identity: Identity) -> Identity:
    """The identity, if Milvus can hold it."""
    if identity.dtype != "float32":
        raise Unsupported(f"dtype is {identity.dtype}; a collection in Milvus stores float32")
    if identity.dim < 2:
        raise InvalidInput("dim is 1; Milvus holds vectors of 2 to 32768 numbers")
    return identity


def create(connection: Connection, table: str, dim: int, kind: Kind) -> None:
    """Makes the empty collection. With one shard a write is one message: it is kept wholly or not at all."""
    types = connection.pymilvus.DataType
    schema: Any = connection.pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", types.VARCHAR, is_primary=True, max_length=2 * MAX_ID_BYTES)
    schema.add_field("version", types.INT64)
    schema.add_field("metadata", types.VARCHAR, max_length=MAX_METADATA_BYTES - 1)
    schema.add_field(
        "tokens",
        types.ARRAY,
        element_type=types.VARCHAR,
        max_capacity=MAX_TOKENS,
        max_length=TOKEN_BYTES,
    )
    schema.add_field("ordered", types.JSON)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=dim)
    _make(connection, table, schema, kind)


def create_registry(connection: Connection, table: str) -> None:
    """Makes the collection that lists the others; Milvus wants a vector in each."""
    types = connection.pymilvus.DataType
    schema: Any = connection.pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", types.VARCHAR, is_primary=True, max_length=2 * MAX_ID_BYTES)
    schema.add_field("content", types.VARCHAR, max_length=MAX_METADATA_BYTES - 1)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    _make(connection, table, schema, Kind("FLAT"))


def _make(connection: Connection, table: str, schema: Any, kind: Kind) -> None:
    indexes: Any = connection.pymilvus.MilvusClient.prepare_index_params()
    indexes.add_index("vector", index_type=kind.type, metric_type="IP", params=dict(kind.made))
    connection.call(
        "create_collection",
        table,
        schema=schema,
        index_params=indexes,
        consistency_level=STRONG,
        num_shards=1,
    )
