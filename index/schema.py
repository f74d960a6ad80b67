"""What a collection's SQLite file looks like.

Vectors have their own table, so that filters read only metadata. Row ids are never used again
(AUTOINCREMENT).
"""

from dataclasses import dataclass

import apsw

from .errors import CorruptCollection, UnsupportedFormat

APPLICATION_ID = 0x504C454E  # "PLEN", in the SQLite header
FORMAT_VERSION = 1
SCHEMA = f"""
CREATE TABLE collection (dim INTEGER NOT NULL, fingerprint TEXT NOT NULL, metric TEXT NOT NULL) STRICT;
CREATE TABLE row (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    metadata BLOB NOT NULL                     -- JSONB
) STRICT;
CREATE UNIQUE INDEX row_live ON row (id) WHERE deleted = 0;
CREATE TABLE vector (
    row_id INTEGER PRIMARY KEY,
    vector BLOB NOT NULL,                      -- float32, little-endian
    checksum INTEGER NOT NULL                  -- see rows.checksum
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a collection is for: vectors of this width from this model, compared by inner product."""

    dim: int
    fingerprint: str


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
