"""What is asked about items in SQL, as functions over a connection; changes.py changes them.

A row never changes after it was written, except that it may be marked deleted, and its row id is never used
again: so what a reader found out about a row id stays true.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import cast

import apsw
import numpy as np
from numpy.typing import NDArray

from .errors import CorruptCollection
from .filters import Sql
from .memory import Rows
from .results import Metadata, Record

BLOCK = 2_048  # rows read at a time


def checksum(row_id: int, id: str, blob: bytes) -> int:
    """CRC-32 of a row: SQLite notices damage to its structure, not to what is stored in it."""
    return zlib.crc32(blob, zlib.crc32(f"{row_id} {id}".encode()))


def counts(connection: apsw.Connection) -> tuple[int, NDArray[np.int64]]:
    """The number of live rows and the row ids of the dead ones."""
    ((live,),) = connection.execute("SELECT count(*) FROM row WHERE deleted = 0").fetchall()
    return cast(int, live), matching(connection, "row.deleted = 1", [])


def live_blocks(
    connection: apsw.Connection,
    dim: int,
    storage: np.dtype[np.floating],
    after: int = 0,
    until: int = 2**63 - 1,
) -> Iterator[Rows]:
    """The live rows behind `after` and up to `until` by ascending row id, block by block, verified."""
    sql = """SELECT row.row_id, row.id, vector, checksum FROM row LEFT JOIN vector USING (row_id)
             WHERE row.deleted = 0 AND row.row_id > ? AND row.row_id <= ? ORDER BY row.row_id LIMIT ?"""
    while block := connection.execute(sql, (after, until, BLOCK)).fetchall():
        row_ids, ids, blobs, checksums = zip(*block, strict=True)
        after = row_ids[-1]
        for row_id, id, blob, expected in zip(row_ids, ids, blobs, checksums, strict=True):
            if blob is None or len(blob) != storage.itemsize * dim or checksum(row_id, id, blob) != expected:
                raise CorruptCollection(f"row {row_id} is damaged")
        vectors = np.frombuffer(b"".join(blobs), storage).reshape(len(block), dim)
        yield np.array(row_ids, np.int64), vectors.astype(storage.newbyteorder("="), copy=False)


def purge(connection: apsw.Connection, row_ids: NDArray[np.int64]) -> None:
    """Removes dead rows for good; within a transaction."""
    for table in ("row", "vector"):
        connection.executemany(
            f"DELETE FROM {table} WHERE row_id = ?", ((row_id,) for row_id in row_ids.tolist())
        )


def matching(
    connection: apsw.Connection, condition: str, parameters: Sequence[str | int | float]
) -> NDArray[np.int64]:
    """The ascending row ids, live or dead, for which a condition of `filters.to_sql` holds."""
    found = connection.execute(
        f"SELECT row.row_id FROM row WHERE {condition} ORDER BY row.row_id", parameters
    )
    return np.fromiter((row_id for (row_id,) in found), np.int64)


def items(connection: apsw.Connection, row_ids: NDArray[np.int64]) -> dict[int, tuple[str, str]]:
    """Id and metadata as JSON text by row id, for those rows, live or dead, that are still stored."""
    sql = "SELECT row_id, id, json(metadata) FROM row WHERE row_id IN (SELECT value FROM json_each(?))"
    found = cast(Iterator[tuple[int, str, str]], connection.execute(sql, (json.dumps(row_ids.tolist()),)))
    return {row_id: (id, text) for row_id, id, text in found}


def count(connection: apsw.Connection, condition: Sql) -> int:
    """The number of live rows for which a condition of `filters.to_sql` holds."""
    sql, parameters = condition
    found = connection.execute(f"SELECT count(*) FROM row WHERE deleted = 0 AND ({sql})", parameters)
    return cast(int, found.fetchall()[0][0])


def by_ids(
    connection: apsw.Connection, ids: Sequence[str], storage: np.dtype[np.floating] | None
) -> dict[str, Record]:
    """The live records among these ids, with their vectors if it is said how those are stored.

    A vector that only the file of a segment has is None.
    """
    condition = "row.deleted = 0 AND row.id IN (SELECT value FROM json_each(?))"
    return {record.id: record for record in _records(connection, condition, [json.dumps(ids)], storage)}


def page(
    connection: apsw.Connection,
    after: int,
    limit: int,
    storage: np.dtype[np.floating] | None,
    condition: Sql | None = None,
) -> list[Record]:
    """The next live records behind a row id for which the condition holds."""
    sql, parameters = condition or ("TRUE", [])
    whole = f"row.deleted = 0 AND row.row_id > ? AND ({sql}) ORDER BY row.row_id LIMIT ?"
    return _records(connection, whole, [after, *parameters, limit], storage)


def _records(
    connection: apsw.Connection,
    condition: str,
    parameters: Sequence[str | int | float],
    storage: np.dtype[np.floating] | None,
) -> list[Record]:
    column, join = ("NULL", "") if storage is None else ("vector.vector", "LEFT JOIN vector USING (row_id)")
    sql = f"SELECT row.row_id, row.id, json(row.metadata), {column} FROM row {join} WHERE {condition}"
    found = cast(list[tuple[int, str, str, bytes | None]], connection.execute(sql, parameters).fetchall())
    return [
        Record(
            id, row_id, metadata, None if blob is None else np.frombuffer(blob, storage).astype(np.float32)
        )
        for (row_id, id, _, blob), metadata in zip(found, parsed([row[2] for row in found]), strict=True)
    ]


def parsed(texts: Sequence[str]) -> list[Metadata]:
    """The metadata objects of stored JSON texts."""
    try:
        return cast(list[Metadata], json.loads(f"[{','.join(texts)}]"))
    except ValueError as error:
        raise CorruptCollection(f"damaged metadata: {error}") from error
