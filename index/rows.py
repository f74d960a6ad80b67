"""Every SQL statement on items, as functions over a connection.

A row never changes after it was written, except that it may be marked deleted, and its row id is never used
again: so what a reader found out about a row id stays true.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import apsw
import numpy as np
from numpy.typing import NDArray

from .errors import CorruptCollection
from .memory import Rows
from .results import Metadata, Record

BLOCK = 2_048  # rows read at a time


@dataclass(slots=True, eq=False)
class Change:
    """One caller's write: rows that replace those of the same ids, or (without vectors) ids to delete."""

    ids: Sequence[str]
    metadata: Sequence[str]
    vectors_ND: NDArray[np.float32] | None
    replaced: int = 0  # rows marked deleted, once written


def write(connection: apsw.Connection, changes: Sequence[Change]) -> tuple[list[Rows], NDArray[np.int64]]:
    """The rows added and the ascending row ids marked deleted by these changes; within a transaction."""
    (last,) = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'row'").fetchone() or (
        None,
    )
    next_id = 1 + (last or 0)
    added: list[Rows] = []
    dead: list[int] = []
    for change in changes:
        marked = connection.executemany(
            "UPDATE row SET deleted = 1 WHERE id = ? AND deleted = 0 RETURNING row_id",
            ((i,) for i in change.ids),
        ).fetchall()
        dead += [cast(int, row_id) for (row_id,) in marked]
        change.replaced = len(marked)
        if change.vectors_ND is not None:
            row_ids = np.arange(next_id, next_id + len(change.ids))
            next_id += len(change.ids)
            _insert(connection, row_ids.tolist(), change, change.vectors_ND)
            added.append((row_ids, change.vectors_ND))
    return added, np.sort(np.array(dead, np.int64))


def _insert(
    connection: apsw.Connection, row_ids: list[int], change: Change, vectors_ND: NDArray[np.float32]
) -> None:
    connection.executemany(
        "INSERT INTO row (row_id, id, metadata) VALUES (?, ?, jsonb(?))",
        zip(row_ids, change.ids, change.metadata, strict=True),
    )
    blobs = (vector.tobytes() for vector in vectors_ND.astype("<f4", copy=False))
    connection.executemany(
        "INSERT INTO vector VALUES (?, ?, ?)",
        (
            (row_id, blob, checksum(row_id, id, blob))
            for row_id, id, blob in zip(row_ids, change.ids, blobs, strict=True)
        ),
    )


def checksum(row_id: int, id: str, blob: bytes) -> int:
    """CRC-32 of a row: SQLite notices damage to its structure, not to what is stored in it."""
    return zlib.crc32(blob, zlib.crc32(f"{row_id} {id}".encode()))


def counts(connection: apsw.Connection) -> tuple[int, NDArray[np.int64]]:
    """The number of live rows and the row ids of the dead ones."""
    ((live,),) = connection.execute("SELECT count(*) FROM row WHERE deleted = 0").fetchall()
    return cast(int, live), matching(connection, "row.deleted = 1", [])


def live_blocks(connection: apsw.Connection, dim: int) -> Iterator[Rows]:
    """All live rows by ascending row id, block by block, verified."""
    after = 0
    sql = """SELECT row.row_id, row.id, vector, checksum FROM row LEFT JOIN vector USING (row_id)
             WHERE row.deleted = 0 AND row.row_id > ? ORDER BY row.row_id LIMIT ?"""
    while block := connection.execute(sql, (after, BLOCK)).fetchall():
        row_ids, ids, blobs, checksums = zip(*block, strict=True)
        after = row_ids[-1]
        for row_id, id, blob, expected in zip(row_ids, ids, blobs, checksums, strict=True):
            if blob is None or len(blob) != 4 * dim or checksum(row_id, id, blob) != expected:
                raise CorruptCollection(f"row {row_id} is damaged")
        vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(len(block), dim)
        yield np.array(row_ids, np.int64), vectors.astype(np.float32, copy=False)


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


def by_ids(connection: apsw.Connection, ids: Sequence[str], vectors: bool) -> dict[str, Record]:
    """The live records among these ids."""
    condition = "row.deleted = 0 AND row.id IN (SELECT value FROM json_each(?))"
    return {record.id: record for record in _records(connection, condition, [json.dumps(ids)], vectors)}


def page(connection: apsw.Connection, after: int, limit: int, vectors: bool) -> list[Record]:
    """The next live records behind a row id."""
    condition = "row.deleted = 0 AND row.row_id > ? ORDER BY row.row_id LIMIT ?"
    return _records(connection, condition, [after, limit], vectors)


def _records(
    connection: apsw.Connection, condition: str, parameters: Sequence[str | int], vectors: bool
) -> list[Record]:
    column, join = ("vector.vector", "JOIN vector USING (row_id)") if vectors else ("NULL", "")
    sql = f"SELECT row.row_id, row.id, json(row.metadata), {column} FROM row {join} WHERE {condition}"
    found = cast(list[tuple[int, str, str, bytes | None]], connection.execute(sql, parameters).fetchall())
    return [
        Record(id, row_id, metadata, None if blob is None else np.frombuffer(blob, "<f4").astype(np.float32))
        for (row_id, id, _, blob), metadata in zip(found, parsed([row[2] for row in found]), strict=True)
    ]


def parsed(texts: Sequence[str]) -> list[Metadata]:
    """The metadata objects of stored JSON texts."""
    try:
        return cast(list[Metadata], json.loads(f"[{','.join(texts)}]"))
    except ValueError as error:
        raise CorruptCollection(f"damaged metadata: {error}") from error
