"""Damaged, foreign and newer files are refused by name; damage is never taken for other items."""

import random
from collections.abc import Iterator
from pathlib import Path

import apsw
import numpy as np
import pytest
from polylens.errors import PolylensError
from polylens.index import Collection, database, rows
from polylens.index.errors import CorruptCollection, UnsupportedFormat


@pytest.fixture
def filled(tmp_path: Path, unit) -> Path:
    with Collection.create(tmp_path / "c", dim=8, fingerprint="f") as made:
        made.upsert([f"id{n}" for n in range(100)], unit(100), [{"n": n} for n in range(100)])
        made.delete(["id5"])
    return tmp_path / "c"


def tamper(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path / "collection.db"))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


DAMAGES = {
    "UPDATE vector SET vector = zeroblob(32) WHERE row_id = 50": "row 50 is damaged",
    "UPDATE vector SET vector = zeroblob(31) WHERE row_id = 50": "row 50 is damaged",
    "UPDATE vector SET checksum = checksum + 1 WHERE row_id = 50": "row 50 is damaged",
    "UPDATE row SET id = 'other' WHERE row_id = 50": "row 50 is damaged",
    "UPDATE row SET row_id = 500 WHERE row_id = 50": "row 500 is damaged",
    "DELETE FROM vector WHERE row_id = 50": "row 50 is damaged",
    "DELETE FROM collection": "identities",
    "INSERT INTO collection VALUES (9, 'g', 'cosine', 'float32')": "identities",
    "DROP TABLE vector": "no such table",
    "PRAGMA application_id = 7": "not a polylens collection",
}


@pytest.mark.parametrize("statement", DAMAGES)
def test_contradictions_are_refused(filled, statement):
    tamper(filled, statement)
    with pytest.raises(PolylensError, match=DAMAGES[statement]):
        Collection.open(filled)
    with pytest.raises(PolylensError):  # and it is not left locked or half open
        Collection.open(filled)


def test_a_newer_format_is_refused(filled):
    tamper(filled, "PRAGMA user_version = 4")
    with pytest.raises(UnsupportedFormat, match="format 4, this polylens reads 3"):
        Collection.open(filled)


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path):
    tamper(tmp_path, "CREATE TABLE mine (x)", "INSERT INTO mine VALUES (1)")
    for call in (Collection.open, lambda path: Collection.create(path, dim=8, fingerprint="f")):
        with pytest.raises(CorruptCollection, match="not a polylens collection"):
            call(tmp_path)
    connection = apsw.Connection(str(tmp_path / "collection.db"))
    assert connection.execute("SELECT x FROM mine").fetchall() == [(1,)]
    connection.close()


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.7.0"])
def test_sqlite_with_the_wal_bug_is_refused(version, filled, monkeypatch):
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    with pytest.raises(UnsupportedFormat, match=f"SQLite {version} can corrupt.*3.51.3"):
        Collection.open(filled)


def test_control_newer_sqlite_is_accepted():
    for version in ("3.51.3", "3.54.1", "4.0.0"):
        database.check_sqlite(version)


def test_the_settings_that_make_commits_durable_are_in_force(filled):
    with Collection.open(filled) as collection:
        writer = collection._database.writer
        for name, value in {
            "journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0, "mmap_size": 0,
            "trusted_schema": 0, "cell_size_check": 1, "page_size": 16_384,
        }.items():  # fmt: skip
            assert writer.execute(f"PRAGMA {name}").fetchall() == [(value,)]
        with collection._database.reader() as reader, pytest.raises(apsw.ReadOnlyError):
            reader.execute("DELETE FROM row")


def test_lookups_use_the_indexes(filled):
    """By id and by row id; a filter reads metadata only, never vectors."""
    with Collection.open(filled) as collection, collection._database.reader() as reader:
        statements = []
        reader.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: statements.append(event["sql"]))
        rows.by_ids(reader, ["id1"], collection._identity.storage)
        rows.items(reader, np.array([1]))
        rows.page(reader, 3, 10, collection._identity.storage)
        rows.matching(reader, "json_type(row.metadata, ?) IS NOT NULL", ["$.n"])
        reader.trace_v2(0, None)
        plans = [
            " | ".join(
                detail for *_, detail in reader.execute("EXPLAIN QUERY PLAN " + sql, ["[]"] * sql.count("?"))
            )
            for sql in statements
            if sql.startswith("SELECT row")
        ]
    by_id, by_row, page, filtered = plans
    assert "row_live" in by_id and "SCAN row" not in by_id
    assert "INTEGER PRIMARY KEY" in by_row and "SCAN row" not in by_row
    assert "INTEGER PRIMARY KEY" in page and "TEMP B-TREE" not in page
    assert "vector" not in filtered and "TEMP B-TREE" not in filtered


def outcome(path: Path, expected: dict[str, bytes]) -> str:
    """What opening and reading a damaged collection gives; what it must never be is "other items"."""
    try:
        with Collection.open(path) as collection:
            hits = collection.search(np.eye(8, dtype=np.float32), k=100)
            records = collection.scan(limit=10_000)
    except PolylensError:
        return "refused"
    found = {record.id: record.vector.tobytes() for record in records}
    return "same" if found == expected and all(set(h.ids) == set(expected) for h in hits) else "other items"


def mutilations(intact: bytes, count: int) -> Iterator[bytes]:
    """Damage where something is stored: the file cut short, a stretch zeroed or garbled, a bit turned."""
    generator = random.Random(3)
    used = [place for place, byte in enumerate(intact) if byte]
    for turn in range(count):
        mutilated, place = bytearray(intact), generator.choice(used)
        if turn % 4 == 0:
            del mutilated[place:]
        elif turn % 4 == 1:
            mutilated[place : place + 300] = bytes(len(mutilated[place : place + 300]))
        elif turn % 4 == 2:
            mutilated[place : place + 300] = generator.randbytes(len(mutilated[place : place + 300]))
        else:
            mutilated[place] ^= 1 << generator.randrange(8)
        yield bytes(mutilated)


def outcomes(folder: Path, expected: dict[str, bytes], count: int, unclean: bool) -> list[str]:
    source, seen = folder / "collection.db", []
    assert outcome(folder, expected) == "same"
    for mutilated in mutilations(source.read_bytes(), count):
        for leftover in folder.glob("collection.db-*"):
            leftover.unlink()
        source.write_bytes(mutilated)
        (folder / "LOCK").write_text("4711\n" if unclean else "")
        seen.append(outcome(folder, expected))
    return seen


@pytest.mark.parametrize("unclean", [True, False], ids=["after a crash", "unnoticed"])
def test_damaged_files_are_refused_or_harmless(filled, unit, unclean):
    """No crash, no foreign exception, and no other items; metadata is not under a checksum."""
    expected = {f"id{n}": vector.tobytes() for n, vector in enumerate(unit(100)) if n != 5}
    seen = outcomes(filled, expected, 80, unclean)
    assert "other items" not in seen
    assert seen.count("refused") > 40  # the rest hit dead rows, metadata, or pages without a use


def test_control_without_checksums_damage_is_taken_for_items(filled, unit, monkeypatch):
    expected = {f"id{n}": vector.tobytes() for n, vector in enumerate(unit(100)) if n != 5}
    with Collection.open(filled) as collection, collection._database.transaction() as connection:
        connection.execute("UPDATE vector SET checksum = 0")
    monkeypatch.setattr(rows, "checksum", lambda row_id, id, blob: 0)
    assert "other items" in outcomes(filled, expected, 80, True)
