"""Collections of every earlier format open, answer the same, and are of this format afterwards.

tests/golden/collections has one of each format, made by the version that wrote it.
"""

import json
import struct
import tarfile
import zlib
from pathlib import Path

import apsw
import numpy as np
import pytest
from polylens.index import Collection, Equal, Range, schema
from polylens.index.errors import StorageFailed, UnsupportedFormat

GOLDEN = Path(__file__).parents[1] / "golden" / "collections"
FORMAT_1 = """
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
PRAGMA application_id = 1347175758;
PRAGMA user_version = 1;
INSERT INTO collection VALUES (2, 'model-a', 'inner_product');
"""
ITEMS = [
    (1, "a", 1, (1.0, 0.0)),
    (2, "b", 0, (0.6, 0.8)),
    (3, "a", 0, (0.0, 1.0)),
]  # row, id, deleted, vector


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A collection of format 1 with the live items "b" and "a", written without any code of ours."""
    path = tmp_path / "old"
    path.mkdir()
    connection = apsw.Connection(str(path / "collection.db"))
    connection.execute("PRAGMA page_size = 16384; PRAGMA journal_mode = WAL")
    connection.execute(FORMAT_1)
    for row_id, id, deleted, vector in ITEMS:
        blob = struct.pack("<2f", *vector)
        checksum = zlib.crc32(blob, zlib.crc32(f"{row_id} {id}".encode()))
        metadata = json.dumps({"n": row_id})
        connection.execute("INSERT INTO row VALUES (?, ?, ?, jsonb(?))", (row_id, id, deleted, metadata))
        connection.execute("INSERT INTO vector VALUES (?, ?, ?)", (row_id, blob, checksum))
    connection.close()
    return path


def marks(path: Path) -> tuple[int, list[str]]:
    """The format that the header names, and the tables."""
    connection = apsw.Connection(str(path / "collection.db"))
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    ).fetchall()
    connection.close()
    return version, [name for (name,) in tables if not name.startswith("sqlite_")]


def test_a_collection_of_format_1_opens_and_is_of_this_format_afterwards(old):
    assert marks(old) == (1, ["collection", "row", "vector"])
    for _ in range(2):  # migrated, and then as it is
        with Collection.open(old, fingerprint="model-a") as collection:
            assert (collection.metric, collection.dtype, collection.dim) == ("cosine", "float32", 2)
            records = [(r.id, r.version, r.metadata, r.vector.tolist()) for r in collection.scan()]
            assert records == [
                ("b", 2, {"n": 2}, pytest.approx([0.6, 0.8])),
                ("a", 3, {"n": 3}, [0.0, 1.0]),
            ]
            (hits,) = collection.search(np.array([[1, 0]], np.float32))
            assert hits.ids == ["b", "a"] and hits.scores.tolist() == pytest.approx([0.6, 0])
        assert marks(old)[0] == schema.FORMAT_VERSION == 3
    fresh = old.with_name("fresh")
    Collection.create(fresh, dim=2, fingerprint="f").close()
    assert marks(old) == marks(fresh)


def test_everything_new_works_on_what_was_migrated(old):
    with Collection.open(old) as collection:
        assert collection.count(Equal("n", 2)) == 1
        assert collection.upsert(["c"], [[1.0, 0.0]], if_version=[0], idempotency_key="k") == 1
        assert collection.get(["c"])[0].version == 4  # row ids go on where they were
        assert collection.delete_where(Range("n", gte=3)) == 1
        assert collection.seal() == 2
    with Collection.open(old) as collection:
        assert [record.id for record in collection.scan()] == ["b", "c"]
        assert collection.upsert(["c"], [[1.0, 0.0]], if_version=[0], idempotency_key="k") == 1


def test_a_migrated_collection_has_the_schema_of_a_new_one(old):
    fresh = old.with_name("fresh")
    Collection.create(fresh, dim=2, fingerprint="f").close()
    Collection.open(old).close()
    columns = []
    for path in (old, fresh):
        connection = apsw.Connection(str(path / "collection.db"))
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema ORDER BY name")]
        columns.append({name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name in names})
        connection.close()
    defaults = [{name: [c[:4] for c in table] for name, table in of.items()} for of in columns]
    assert defaults[0] == defaults[1]


def test_a_migration_that_breaks_off_leaves_the_old_format(old, monkeypatch):
    honest = schema.migrate

    def break_off(connection):
        honest(connection)
        raise apsw.IOError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(schema, "migrate", break_off)
        with pytest.raises(StorageFailed):
            Collection.open(old)
    assert marks(old) == (1, ["collection", "row", "vector"])
    with Collection.open(old) as collection:
        assert collection.count() == 2


def test_control_without_the_migration_the_old_format_is_refused(old, monkeypatch):
    monkeypatch.setattr(schema, "outdated", lambda connection: False)
    with pytest.raises(UnsupportedFormat, match="format 1, this polylens reads 3"):
        Collection.open(old)


@pytest.mark.parametrize("version", [0, 4, 99])
def test_other_formats_are_refused_and_left_alone(old, version):
    connection = apsw.Connection(str(old / "collection.db"))
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(UnsupportedFormat, match=f"format {version}, this polylens reads 3"):
        Collection.open(old)
    assert marks(old) == (version, ["collection", "row", "vector"])


@pytest.mark.parametrize("name", [f"format_{version}" for version in range(1, schema.FORMAT_VERSION + 1)])
def test_golden_collections_answer_as_they_did(tmp_path, name):
    with tarfile.open(GOLDEN / f"{name}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    queries = np.array([np.frombuffer(bytes.fromhex(text), "<f4") for text in expected["queries"]])
    for _ in range(2):
        with Collection.open(tmp_path / "collection", fingerprint="golden-model") as collection:
            found = (collection.search(queries, 5), collection.search(queries, 5, Range("n", gte=20)))
            got = [[[hits.ids, hits.scores.tobytes().hex()] for hits in part] for part in found]
            assert got == expected["searches"]
            records = [
                [r.id, r.version, r.metadata, r.vector.tobytes().hex()] for r in collection.scan(1_000)
            ]
            assert records == expected["records"]
            assert collection.info().degraded == []
        assert marks(tmp_path / "collection")[0] == schema.FORMAT_VERSION
