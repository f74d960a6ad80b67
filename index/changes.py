"""What callers write: the change of one call, and the SQL that carries out the changes of several."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import apsw
import numpy as np
from numpy.typing import NDArray

from ..errors import PolylensError
from .errors import IdempotencyConflict, VersionConflict
from .filters import Sql
from .memory import Rows
from .requests import Request, answer, remember
from .rows import checksum
from .segment import Vectors


@dataclass(slots=True, eq=False)
class Change:
    """One caller's write: rows that replace those of the same ids, ids to delete, or a filter whose rows go.

    Only the first has `vectors_ND`, only the last a `condition`.
    """

    ids: Sequence[str] = ()
    metadata: Sequence[str] = ()
    vectors_ND: Vectors | None = None  # in the dtype in which they are stored
    condition: Sql | None = None
    expected: Sequence[int | None] | None = None  # the version each id must have; 0: none, None: any
    request: Request | None = None
    result: int = 0  # once written: the rows stored, or those deleted
    error: PolylensError | None = None  # or why nothing was written, though its neighbours were


def write(
    connection: apsw.Connection, changes: Sequence[Change], now: int
) -> tuple[list[Rows], NDArray[np.int64]]:
    """The rows added and the ascending row ids marked deleted by these changes; within a transaction.

    What a change cannot have is its own `error` and keeps no other from being written.
    """
    next_id = 1 + last_row(connection)
    added: list[Rows] = []
    dead: list[int] = []
    for change in changes:
        change.error = None
        try:
            earlier = answer(connection, change.request) if change.request else None
            if earlier is None:
                _require_versions(connection, change)
        except (IdempotencyConflict, VersionConflict) as error:
            change.error = error
            continue
        if earlier is not None:
            change.result = earlier
            continue
        marked = _mark(connection, change)
        dead += marked
        change.result = len(marked)
        if change.vectors_ND is not None:
            change.result = len(change.ids)
            row_ids = np.arange(next_id, next_id + len(change.ids))
            next_id += len(change.ids)
            _insert(connection, row_ids.tolist(), change, change.vectors_ND)
            added.append((row_ids, change.vectors_ND))
        if change.request:
            remember(connection, change.request, change.result, now)
    return added, np.sort(np.array(dead, np.int64))


def last_row(connection: apsw.Connection) -> int:
    """The highest row id that was ever given out, 0 if none was."""
    sql = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'row'"
    (last,) = connection.execute(sql).fetchone() or (None,)
    return cast(int, last or 0)


def set_aside(connection: apsw.Connection, count: int) -> int:
    """The first of so many row ids that nobody else gets from now on."""
    last = last_row(connection)
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'row'")
    connection.execute("INSERT INTO sqlite_sequence VALUES ('row', ?)", (last + count,))
    return last + 1


def _require_versions(connection: apsw.Connection, change: Change) -> None:
    """Raises `VersionConflict` for the first id that has not the version it must have."""
    if change.expected is None:
        return
    sql = "SELECT id, row_id FROM row WHERE deleted = 0 AND id IN (SELECT value FROM json_each(?))"
    found = cast(list[tuple[str, int]], connection.execute(sql, (json.dumps(list(change.ids)),)).fetchall())
    current = dict(found)
    for id, expected in zip(change.ids, change.expected, strict=True):
        if expected is not None and current.get(id, 0) != expected:
            raise VersionConflict(id, current.get(id, 0), expected)


def _mark(connection: apsw.Connection, change: Change) -> list[int]:
    """Marks the rows that the change replaces or deletes; their row ids."""
    if change.condition is None:
        return mark(connection, change.ids)
    condition, parameters = change.condition
    marked = connection.execute(
        f"UPDATE row SET deleted = 1 WHERE deleted = 0 AND ({condition}) RETURNING row_id", parameters
    )
    return [row_id for (row_id,) in cast(list[tuple[int]], marked.fetchall())]


def mark(connection: apsw.Connection, ids: Iterable[str]) -> list[int]:
    """Marks the rows of these ids as deleted; their row ids."""
    marked = connection.executemany(
        "UPDATE row SET deleted = 1 WHERE id = ? AND deleted = 0 RETURNING row_id", ((id,) for id in ids)
    )
    return [row_id for (row_id,) in cast(list[tuple[int]], marked.fetchall())]


def _insert(connection: apsw.Connection, row_ids: list[int], change: Change, vectors_ND: Vectors) -> None:
    connection.executemany(
        "INSERT INTO row (row_id, id, metadata) VALUES (?, ?, jsonb(?))",
        zip(row_ids, change.ids, change.metadata, strict=True),
    )
    blobs = (vector.tobytes() for vector in vectors_ND.astype(vectors_ND.dtype.newbyteorder("<"), copy=False))
    connection.executemany(
        "INSERT INTO vector VALUES (?, ?, ?)",
        (
            (row_id, blob, checksum(row_id, id, blob))
            for row_id, id, blob in zip(row_ids, change.ids, blobs, strict=True)
        ),
    )


def digest(change: Change) -> bytes:
    """BLAKE2b (32 bytes) of all that the change says; the order of keys in its metadata does not count."""
    hashed = hashlib.blake2b(digest_size=32)
    metadata = [json.loads(text) for text in change.metadata]
    kind = "upsert" if change.vectors_ND is not None else "delete"
    for part in (kind, change.ids, metadata, change.condition, change.expected):
        text = json.dumps(part, sort_keys=True).encode()
        hashed.update(len(text).to_bytes(8, "little") + text)
    if change.vectors_ND is not None:
        hashed.update(change.vectors_ND.tobytes())
    return hashed.digest()
