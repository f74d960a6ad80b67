"""What a collection's SQLite file looks like.

Vectors have their own table, so that filters read only metadata. Row ids are never used again
(AUTOINCREMENT).
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import apsw
import numpy as np

from . import validation
from .errors import (
    CollectionExists,
    CorruptCollection,
    DimensionMismatch,
    FingerprintMismatch,
    UnsupportedFormat,
)

APPLICATION_ID = 0x504C454E  # "PLEN", in the SQLite header
FORMAT_VERSION = 3
METRICS = ("cosine", "inner_product")
DTYPES = ("float32", "float16")
# What format 2 added to format 1.
_ADDED_2 = """
CREATE INDEX row_dead ON row (row_id) WHERE deleted = 1;
CREATE TABLE segment (                         -- sealed rows; see sealed.py
    segment_id INTEGER PRIMARY KEY AUTOINCREMENT,
    factory TEXT NOT NULL,                     -- FAISS factory string; 'Flat' has no index file
    first_row INTEGER NOT NULL,                -- every row of these row ids that is live is in the segment
    last_row INTEGER NOT NULL,
    count INTEGER NOT NULL,
    rows_bytes INTEGER NOT NULL, rows_crc INTEGER NOT NULL,
    index_bytes INTEGER NOT NULL, index_crc INTEGER NOT NULL,
    parameters TEXT NOT NULL,                  -- JSON: the search parameters it was tuned to
    attempts INTEGER NOT NULL DEFAULT 0        -- openings that began and did not come to their end
) STRICT;
CREATE TABLE request (                         -- writes that carried an idempotency key
    key TEXT PRIMARY KEY,
    digest BLOB NOT NULL,                      -- of what was asked
    result INTEGER NOT NULL,                   -- what was answered
    expires INTEGER NOT NULL                   -- seconds since 1970; see requests.Clock
) STRICT, WITHOUT ROWID;
CREATE INDEX request_expires ON request (expires);
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
# What format 3 added to format 2.
_ADDED_3 = """
ALTER TABLE segment ADD COLUMN sole INTEGER NOT NULL DEFAULT 0; -- 1: no vector of some rows is in the table
CREATE TABLE imported (                        -- parts of what was imported; see bulk.py
    part TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
_SCHEMA = f"""
CREATE TABLE collection (
    dim INTEGER NOT NULL, fingerprint TEXT NOT NULL, metric TEXT NOT NULL, dtype TEXT NOT NULL
) STRICT;
CREATE TABLE row (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    metadata BLOB NOT NULL                     -- JSONB
) STRICT;
CREATE UNIQUE INDEX row_live ON row (id) WHERE deleted = 0;
CREATE TABLE vector (
    row_id INTEGER PRIMARY KEY,
    vector BLOB NOT NULL,                      -- of the collection's dtype, little-endian
    checksum INTEGER NOT NULL                  -- see rows.checksum
) STRICT;
{_ADDED_2}
{_ADDED_3}
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""
_FROM = {
    1: f"""
ALTER TABLE collection ADD COLUMN dtype TEXT NOT NULL DEFAULT 'float32';
UPDATE collection SET metric = 'cosine';
{_ADDED_2}
{_ADDED_3}
PRAGMA user_version = {FORMAT_VERSION};
""",
    2: f"""
{_ADDED_3}
PRAGMA user_version = {FORMAT_VERSION};
""",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a collection is for: vectors of this width from this model, how compared and how stored."""

    dim: int
    fingerprint: str
    metric: str = "cosine"  # of unit vectors; "inner_product" takes vectors of any length
    dtype: str = "float32"  # of what is stored

    @classmethod
    def of(cls, dim: int, fingerprint: str, metric: str, dtype: str) -> Self:
        """The identity of these values, which are checked."""
        return cls(
            validation.whole("dim", dim, 1, validation.MAX_DIM),
            validation.fingerprint(fingerprint),
            validation.choice("metric", metric, METRICS),
            validation.choice("dtype", dtype, DTYPES),
        )

    @property
    def storage(self) -> np.dtype[np.floating]:
        """The dtype of stored vectors, little-endian."""
        return np.dtype({"float32": "<f4", "float16": "<f2"}[self.dtype])

    def as_json(self) -> dict[str, Any]:
        """Its values by name."""
        return asdict(self)

    def require(
        self,
        place: object,
        fingerprint: str | None,
        dim: int | None = None,
        metric: str | None = None,
        dtype: str | None = None,
    ) -> None:
        """Raises an error that names the place for the first that is given and is another."""
        if fingerprint is not None and fingerprint != self.fingerprint:
            raise FingerprintMismatch(f"{place} was filled by model {self.fingerprint}, not by {fingerprint}")
        if dim is not None and dim != self.dim:
            raise DimensionMismatch(f"{place} holds vectors of width {self.dim}, not {dim}")
        for name, wanted, got in (("metric", metric, self.metric), ("dtype", dtype, self.dtype)):
            if wanted is not None and wanted != got:
                raise CollectionExists(f"{place} has the {name} {got}, not {wanted}")


def create(connection: apsw.Connection, identity: Identity) -> None:
    """Writes schema and identity; to be called within a transaction."""
    connection.execute(_SCHEMA)
    connection.execute(
        "INSERT INTO collection VALUES (?, ?, ?, ?)",
        (identity.dim, identity.fingerprint, identity.metric, identity.dtype),
    )


def outdated(connection: apsw.Connection) -> bool:
    """Whether the database is of an earlier format, which `migrate` can bring to this one."""
    application, version = _marks(connection)
    return application == APPLICATION_ID and version in _FROM


def migrate(connection: apsw.Connection) -> None:
    """Brings a database of an earlier format to this one; to be called within a transaction."""
    connection.execute(_FROM[_marks(connection)[1]])


def _marks(connection: apsw.Connection) -> tuple[int, int]:
    """The application and the format that the header names; 0 for none."""
    (application,) = connection.execute("PRAGMA application_id").fetchone() or (0,)
    (version,) = connection.execute("PRAGMA user_version").fetchone() or (0,)
    return application, version


def identity(connection: apsw.Connection) -> Identity | None:
    """The identity, or None in a database whose creation never finished."""
    application, version = _marks(connection)
    if application == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]:
        return None
    if application != APPLICATION_ID:
        raise CorruptCollection(f"{connection.filename} is not a polylens collection")
    if version != FORMAT_VERSION:
        raise UnsupportedFormat(
            f"{connection.filename} has format {version}, this polylens reads {FORMAT_VERSION}"
        )
    found = connection.execute("SELECT dim, fingerprint, metric, dtype FROM collection").fetchall()
    match found:
        case [(int(dim), str(fingerprint), str(metric), str(dtype))] if metric in METRICS and dtype in DTYPES:
            return Identity(dim, fingerprint, metric, dtype)
    raise CorruptCollection(f"{connection.filename} has the identities {found!r:.200}, expected one")
