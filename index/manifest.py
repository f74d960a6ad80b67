"""Every SQL statement on segments and settings, as functions over a connection."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import apsw

from .errors import CorruptCollection
from .faiss_index import EXACT
from .sealed import Sealed, Stamp

MAX_ATTEMPTS = 2  # openings that a segment may break off


@dataclass(frozen=True, slots=True)
class Entry:
    """One segment as the manifest has it."""

    segment_id: int
    factory: str
    first_row: int
    last_row: int
    count: int
    rows: Stamp
    index_file: Stamp
    parameters: Mapping[str, int]
    attempts: int
    sole: bool


def entries(connection: apsw.Connection) -> list[Entry]:
    """All segments by ascending row ids."""
    found = connection.execute(
        """SELECT segment_id, factory, first_row, last_row, count, rows_bytes, rows_crc, index_bytes,
                  index_crc, parameters, attempts, sole FROM segment ORDER BY first_row"""
    ).fetchall()
    return [_entry(cast(tuple[Any, ...], row)) for row in found]


def _entry(row: tuple[Any, ...]) -> Entry:
    segment_id, factory, first, last, count, *stamps, text, attempts, sole = row
    parameters = _parsed(f"parameters of segment {segment_id}", text)
    if not isinstance(parameters, dict) or not all(type(value) is int for value in parameters.values()):
        raise CorruptCollection(
            f"segment {segment_id} has the parameters {text!r:.200}, expected whole numbers"
        )
    rows, index_file = Stamp(*stamps[:2]), Stamp(*stamps[2:])
    return Entry(segment_id, factory, first, last, count, rows, index_file, parameters, attempts, bool(sole))


def _parsed(what: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CorruptCollection(f"damaged {what}: {error}") from error


def next_id(connection: apsw.Connection) -> int:
    """A segment id that was never used."""
    sql = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'segment'"
    (last,) = connection.execute(sql).fetchone() or (None,)
    return 1 + cast(int, last or 0)


def add(connection: apsw.Connection, new: Sealed, rows: tuple[int, int], count: int) -> None:
    """Adds a segment of `count` rows with row ids from the first to the last."""
    connection.execute(
        "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
        (
            *(new.segment_id, new.factory, *rows, count, new.rows.size, new.rows.crc),
            *(new.index_file.size, new.index_file.crc, json.dumps(dict(new.parameters)), new.sole),
        ),
    )


def remove(connection: apsw.Connection, segment_ids: Sequence[int]) -> None:
    """Removes segments; their rows are found in memory again when the collection is opened."""
    connection.executemany("DELETE FROM segment WHERE segment_id = ?", ((id,) for id in segment_ids))


def forget_indexes(connection: apsw.Connection, segment_ids: Sequence[int]) -> None:
    """Leaves only the rows of segments: what cannot be done without."""
    connection.executemany(
        """UPDATE segment SET factory = ?, index_bytes = 0, index_crc = 0, parameters = '{}', attempts = 0
           WHERE segment_id = ?""",
        ((EXACT, id) for id in segment_ids),
    )


def imported(connection: apsw.Connection, part: str) -> tuple[bytes, int] | None:
    """Digest and number of rows of a part that was imported."""
    found = connection.execute("SELECT digest, count FROM imported WHERE part = ?", (part,)).fetchone()
    return cast(tuple[bytes, int] | None, found)


def note_imported(connection: apsw.Connection, part: str, digest: bytes, count: int) -> None:
    """Notes that a part was imported."""
    connection.execute("INSERT OR REPLACE INTO imported VALUES (?, ?, ?)", (part, digest, count))


def begin_loading(connection: apsw.Connection, segment_id: int, done: Sequence[int]) -> None:
    """Counts an opening of one segment and forgets those of the ones that came to their end."""
    connection.executemany("UPDATE segment SET attempts = 0 WHERE segment_id = ?", ((id,) for id in done))
    connection.execute("UPDATE segment SET attempts = attempts + 1 WHERE segment_id = ?", (segment_id,))


def end_loading(connection: apsw.Connection) -> None:
    """Forgets all counted openings."""
    connection.execute("UPDATE segment SET attempts = 0 WHERE attempts <> 0")


def tune(connection: apsw.Connection, segment_id: int, parameters: Mapping[str, int]) -> None:
    """Stores search parameters."""
    connection.execute(
        "UPDATE segment SET parameters = ? WHERE segment_id = ?", (json.dumps(dict(parameters)), segment_id)
    )


def setting(connection: apsw.Connection, key: str) -> Any:
    """The stored value of a setting, None if there is none."""
    found = connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
    return None if found is None else _parsed(f"setting {key}", cast(str, found[0]))


def store_setting(connection: apsw.Connection, key: str, value: object) -> None:
    """Stores a setting as JSON."""
    connection.execute(
        "INSERT INTO setting VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, json.dumps(value)),
    )
