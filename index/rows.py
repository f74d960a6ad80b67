"""The schema and every SQL statement, as functions over a connection.

A row never changes after it was written, except that it may be marked deleted, and its row id is never used
again: so what a reader found out about a row id stays true. Vectors have their own table, so that filters
read only metadata.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import apsw
import numpy as np
from numpy.typing import NDArray

from .errors import CorruptCollection, UnsupportedFormat
from .memory import Rows
from .results import Record

APPLICATION_ID = 0x504C454E  # "PLEN", in the SQLite header
FORMAT_VERSION = 1
SCHEMA = f"""
CREATE TABLE collection (dim INTEGER NOT NULL, fingerprint TEXT NOT NULL, metric TEXT NOT NULL) STRICT;
CREATE TABLE row (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    metadata BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX row_live ON row (id) WHERE deleted = 0;
CREATE TABLE vector (row_id INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""
BLOCK = 2_048  # rows read at a time


@dataclass(frozen=True, slots=True)
class Identity:
    """What a collection is for: vectors of this width from this model, compared by inner product."""

    dim: int
    fingerprint: str


@dataclass(slots=True, eq=False)
class Change:
    """One caller's write: rows that replace those of the same ids, or (without vectors) ids to delete."""

    ids: Sequence[str]
    metadata: Sequence[str]
    vectors_ND: NDArray[np.float32] | None
    replaced: int = 0  # rows marked deleted, once written


def create(connection: apsw.Connection, identity: Identity) -> None:
    """Writes schema and identity; to be called within a transaction."""
    connection.execute(SCHEMA)
    connection.execute(
        "INSERT INTO collection VALUES (?, ?, 'inner_product')", (identity.dim, identity.fingerprint)
    )


def identity(connection: apsw.Connection) -> Identity | None:
    """The identity, or None in a database whose creation never finished."""
    (application,) = connection.execute("PRAGMA application_id").fetchone() or (0,)
    (version,) = connection.execute("PRAGMA user_version").fetchone() or (0,)
    if application == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]:
        return None
    if application != APPLICATION_ID:
        raise CorruptCollection(f"{connection.filename} is not a polylens collection")
    if version != FORMAT_VERSION:
        raise UnsupportedFormat(
            f"{connection.filename} has format {version}, this polylens reads {FORMAT_VERSION}"
        )
    found = connection.execute("SELECT dim, fingerprint FROM collection").fetchall()
    match found:
        case [(int(dim), str(fingerprint))]:
            return Identity(dim, fingerprint)
    raise CorruptCollection(f"{connection.filename} has the identities {found!r:.200}, expected one")


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
            added.append((row_ids, change.ids, change.vectors_ND))
    return added, np.sort(np.array(dead, np.int64))


def _insert(
    connection: apsw.Connection, row_ids: list[int], change: Change, vectors_ND: NDArray[np.float32]
) -> None:
    connection.executemany(
        "INSERT INTO row (row_id, id, metadata) VALUES (?, ?, jsonb(?))",
        zip(row_ids, change.ids, change.metadata, strict=True),
    )
    stored = vectors_ND.astype("<f4", copy=False)
    connection.executemany(
        "INSERT INTO vector VALUES (?, ?)",
        ((row_id, row.tobytes()) for row_id, row in zip(row_ids, stored, strict=True)),
    )


def counts(connection: apsw.Connection) -> tuple[int, NDArray[np.int64]]:
    """The number of live rows and the row ids of the dead ones."""
    ((live,),) = connection.execute("SELECT count(*) FROM row WHERE deleted = 0").fetchall()
    return cast(int, live), matching(connection, "row.deleted = 1", [])


def live_blocks(connection: apsw.Connection, dim: int) -> Iterator[Rows]:
    """All live rows by ascending row id, block by block; refuses vectors nobody can have written."""
    after = 0
    sql = """SELECT row.row_id, row.id, vector.vector FROM row LEFT JOIN vector USING (row_id)
             WHERE row.deleted = 0 AND row.row_id > ? ORDER BY row.row_id LIMIT ?"""
    while block := connection.execute(sql, (after, BLOCK)).fetchall():
        row_ids, ids, blobs = zip(*block, strict=True)
        after = row_ids[-1]
        yield np.array(row_ids, np.int64), ids, _vectors(blobs, row_ids, dim)


def _vectors(blobs: Sequence[bytes | None], row_ids: Sequence[int], dim: int) -> NDArray[np.float32]:
    for blob, row_id in zip(blobs, row_ids, strict=True):
        if blob is None or len(blob) != 4 * dim:
            raise CorruptCollection(f"row {row_id} has no vector of width {dim}")
    vectors = np.frombuffer(b"".join(blob for blob in blobs if blob is not None), "<f4").reshape(
        len(blobs), dim
    )
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.einsum("nd,nd->n", vectors, vectors)
    good = np.abs(norms - 1) < 0.01  # false for NaN
    if not good.all():
        raise CorruptCollection(f"row {row_ids[int(good.argmin())]} holds a damaged vector")
    return vectors.astype(np.float32, copy=False)


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


def metadata(connection: apsw.Connection, row_ids: NDArray[np.int64]) -> dict[int, str]:
    """JSON text by row id, for those rows, live or dead, that are still stored."""
    sql = "SELECT row_id, json(metadata) FROM row WHERE row_id IN (SELECT value FROM json_each(?))"
    found = connection.execute(sql, (json.dumps(row_ids.tolist()),))
    return {cast(int, row_id): cast(str, text) for row_id, text in found}


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
    return [
        Record(
            id,
            row_id,
            json.loads(text),
            None if blob is None else np.frombuffer(blob, "<f4").astype(np.float32),
        )
        for row_id, id, text, blob in connection.execute(sql, parameters)
    ]
