"""A snapshot is all of a collection, or nothing; an archive that is not exactly one is refused, untouched."""

import io
import json
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from polylens.index import Collection, archive, restore, snapshot, verify
from polylens.index.errors import (
    CollectionBusy,
    CollectionExists,
    CollectionNotFound,
    CorruptSnapshot,
    StorageFull,
)
from polylens.index.files import Files


@pytest.fixture
def filled(tmp_path: Path, unit) -> Path:
    """A closed collection with a sealed segment, a tail and deletions."""
    with Collection.create(tmp_path / "c", dim=8, fingerprint="model-a", index="HNSW8") as made:
        made.upsert([f"id{n}" for n in range(100)], unit(100), [{"n": n} for n in range(100)])
        made.seal()
        made.delete(["id5"])
        made.upsert(["new", "id6"], unit(2, seed=1), [{"x": [1, None, "é"]}] * 2)
    return tmp_path / "c"


@pytest.fixture
def taken(filled: Path) -> Path:
    path = filled.with_name("c.tar")
    with Collection.open(filled) as collection:
        collection.snapshot(path)
    return path


def content(path: Path) -> list[tuple]:
    with Collection.open(path, background=False) as collection:
        return [(r.id, r.version, r.vector.tobytes(), r.metadata) for r in collection.scan(limit=10_000)]


@pytest.mark.parametrize("trusted", [False, True])
def test_a_restored_collection_is_the_same(filled, taken, trusted, tmp_path):
    report = restore(taken, tmp_path / "again", trusted=trusted)
    assert report.sound and report.live == 100 and report.identity.fingerprint == "model-a"
    assert content(tmp_path / "again") == content(filled)
    with Collection.open(tmp_path / "again", background=False) as again:
        assert len(again.info().segments) == trusted and again.info().degraded == []
        assert again.upsert(["more"], again.get(["new"])[0].vector[None]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "c", "c.tar"]


def test_an_ordinary_tar_program_reads_it(taken, filled):
    with tarfile.open(taken) as tar:
        names = tar.getnames()
        manifest = json.load(tar.extractfile("manifest.json"))
        rows = tar.extractfile("segments/1.rows").read()
    assert names == ["manifest.json", "collection.db", "segments/1.rows", "segments/1.faiss"]
    assert manifest["collection"] == {
        "dim": 8, "fingerprint": "model-a", "metric": "cosine", "dtype": "float32", "count": 100
    }  # fmt: skip
    assert rows == (filled / "segments" / "1.rows").read_bytes()


def test_a_snapshot_of_a_collection_in_use_holds_one_moment(filled, unit):
    """A writer goes on throughout: the snapshot has a prefix of what it wrote."""
    stop = threading.Event()

    def write(collection: Collection) -> None:
        number = 0
        while not stop.is_set():
            collection.upsert([f"w{number}"], unit(1), [{"n": number}])
            number += 1
            if number % 40 == 0:
                collection.seal()

    with Collection.open(filled) as collection:
        writer = threading.Thread(target=write, args=(collection,))
        writer.start()
        made = [collection.snapshot(filled.with_name(f"{n}.tar")) for n in range(8)]
        stop.set()
        writer.join()
    for one in made:
        report = restore(one.path, one.path.with_suffix(""), trusted=True)
        assert report.sound
        written = [int(id[1:]) for id, *_ in content(one.path.with_suffix("")) if id.startswith("w")]
        assert written == list(range(len(written))) and one.count == 100 + len(written)


def test_a_damaged_segment_is_left_out(filled, tmp_path):
    with Collection.open(filled, background=False) as collection:
        path = filled / "segments" / "1.faiss"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        made = collection.snapshot(tmp_path / "s.tar")
        assert made.segments == 0 and made.count == 100
    assert restore(made.path, tmp_path / "r", trusted=True).sound
    assert content(tmp_path / "r") == content(filled)


def test_nothing_is_overwritten_and_two_do_not_mix(filled, taken, tmp_path):
    before = taken.read_bytes()
    with Collection.open(filled) as collection:
        for path in (taken, filled):
            with pytest.raises(CollectionExists, match="exists already"):
                collection.snapshot(path)
        with pytest.raises(CollectionNotFound, match="no folder"):
            collection.snapshot(tmp_path / "nowhere" / "s.tar")
        work = tmp_path / ".s.tar.part"
        work.mkdir()
        other = Files().lock(work / "LOCK")
        with pytest.raises(CollectionBusy):
            collection.snapshot(tmp_path / "s.tar")
        other.release()
        (work / "snapshot.tar").write_text("left by a kill")
        (work / "left").mkdir()
        collection.snapshot(tmp_path / "s.tar")
    with pytest.raises(CollectionExists):
        restore(taken, filled)
    assert taken.read_bytes() == before and not work.exists()


class Small(Files):
    def free_space(self, path: Path) -> int:
        return 2**20


def test_no_room_is_seen_before_anything_is_written(filled, taken, tmp_path):
    with pytest.raises(StorageFull, match="1,048,576 bytes are free, expected at least"):
        restore(taken, tmp_path / "r", files=Small())
    with Collection.open(filled, files=Small()) as collection:
        with pytest.raises(StorageFull, match="are free"):
            collection.snapshot(tmp_path / "s.tar")
    assert not (tmp_path / "r").exists() and not (tmp_path / "s.tar").exists()
    restore(taken, tmp_path / "r", files=Small(), min_free=0)


# --- archives from strangers ---

Members = list[tuple[tarfile.TarInfo, bytes]]


def members(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar.getmembers()]


def rewritten(path: Path, change: Callable[[Members], Members | None], name: str = "hostile.tar") -> Path:
    parts = members(path)
    parts = change(parts) or parts
    with tarfile.open(path.with_name(name), "w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in parts:
            tar.addfile(info, io.BytesIO(data))
    return path.with_name(name)


def in_manifest(parts: Members, change: Callable[[dict], None]) -> None:
    content = json.loads(parts[0][1])
    change(content)
    text = json.dumps(content).encode()
    parts[0][0].size = len(text)
    parts[0] = (parts[0][0], text)


def rename(parts: Members, number: int, name: str) -> None:
    """Under this name in the archive and in the manifest: it is consistent."""
    old = parts[number][0].name
    parts[number][0].name = name
    in_manifest(parts, lambda m: [one.update(name=name) for one in m["members"] if one["name"] == old])


def link(parts: Members, number: int, kind: bytes, target: str = "/etc/passwd") -> None:
    parts[number][0].type, parts[number][0].linkname = kind, target


def insert(parts: Members, name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    parts.insert(1, (info, data))


HOSTILE: dict[str, Callable[[Members], Members | None]] = {
    "a path upwards": lambda parts: rename(parts, 2, "segments/../../../evil"),
    "a path upwards in the name": lambda parts: rename(parts, 1, "../collection.db"),
    "an absolute path": lambda parts: rename(parts, 2, "/tmp/evil.rows"),
    "a strange name": lambda parts: rename(parts, 2, "segments/1.sh"),
    "a name with a line end": lambda parts: rename(parts, 2, "segments/1.rows\n"),
    "a symbolic link": lambda parts: link(parts, 1, tarfile.SYMTYPE),
    "a hard link": lambda parts: link(parts, 2, tarfile.LNKTYPE, "collection.db"),
    "a device": lambda parts: link(parts, 2, tarfile.CHRTYPE),
    "a pipe": lambda parts: link(parts, 2, tarfile.FIFOTYPE),
    "a sparse file": lambda parts: link(parts, 1, tarfile.GNUTYPE_SPARSE),
    "a long name": lambda parts: insert(parts, "././@LongLink", b"evil\0", tarfile.GNUTYPE_LONGNAME),
    "an extended header": lambda parts: insert(parts, "x", b"20 path=../../evil\n\n", tarfile.XHDTYPE),
    "a surplus member": lambda parts: insert(parts, "segments/7.rows"),
    "a folder": lambda parts: insert(parts, "segments", b"", tarfile.DIRTYPE),
    "a duplicate": lambda parts: [*parts, parts[1]],
    "a member twice": lambda parts: in_manifest(parts, lambda m: m["members"].append(m["members"][0])),
    "another order": lambda parts: [parts[0], parts[2], parts[1], *parts[3:]],
    "a missing member": lambda parts: parts[:-1],
    "no manifest": lambda parts: parts[1:],
    "no members": lambda parts: parts[:1],
    "an empty manifest": lambda parts: in_manifest(parts, dict.clear),
    "a manifest that is no object": lambda parts: [(parts[0][0], b"[" * parts[0][0].size), *parts[1:]],
    "a huge manifest": lambda parts: in_manifest(parts, lambda m: m.update(x="y" * 2**20)),
    "a newer version": lambda parts: in_manifest(parts, lambda m: m.update(version=2)),
    "a size beyond the file": lambda parts: in_manifest(parts, lambda m: m["members"][0].update(size=2**60)),
    "a negative size": lambda parts: in_manifest(parts, lambda m: m["members"][0].update(size=-1)),
    "a size that is text": lambda parts: in_manifest(parts, lambda m: m["members"][0].update(size="1")),
    "another digest": lambda parts: in_manifest(parts, lambda m: m["members"][0].update(sha256="0" * 64)),
    "another count": lambda parts: in_manifest(parts, lambda m: m["collection"].update(count=7)),
    "another model": lambda parts: in_manifest(parts, lambda m: m["collection"].update(fingerprint="b")),
}  # fmt: skip


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(taken, tmp_path, what, trusted):
    (tmp_path / "room").mkdir()
    hostile = rewritten(taken, HOSTILE[what])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((CorruptSnapshot, StorageFull)) as refused:
        restore(hostile, tmp_path / "room" / "r", trusted=trusted)
    assert (refused.type is StorageFull) == (what == "a size beyond the file")
    assert sorted(tmp_path.rglob("*")) == before


def test_control_the_same_rewriting_without_a_change_is_accepted(taken, tmp_path):
    assert restore(rewritten(taken, lambda parts: None), tmp_path / "r", trusted=True).sound


def with_database(parts: Members, tmp_path: Path, *statements: str) -> None:
    """A consistent archive whose database was changed."""
    path = tmp_path / "changed.db"
    path.write_bytes(parts[1][1])
    connection = apsw.Connection(str(path))
    for statement in ("PRAGMA journal_mode = DELETE", *statements):
        connection.execute(statement).fetchall()
    connection.close()
    data = path.read_bytes()
    path.unlink()
    parts[1][0].size, parts[1] = len(data), (parts[1][0], data)
    found = archive.measured("collection.db", [data])
    in_manifest(parts, lambda m: m["members"][0].update(size=found.size, sha256=found.sha256))


DOCTORED = {
    "a trigger": "CREATE TRIGGER evil AFTER INSERT ON row BEGIN DELETE FROM row; END",
    "a view": "CREATE VIEW evil AS SELECT 1",
    "a table": "CREATE TABLE evil (x)",
    "a lost index": "DROP INDEX row_live",
    "another vector": "UPDATE vector SET vector = zeroblob(32) WHERE row_id = 7",
    "a lost vector": "DELETE FROM vector WHERE row_id = 7",
    "a surplus vector": "INSERT INTO vector VALUES (9999, zeroblob(32), 0)",
    "damaged metadata": "UPDATE row SET metadata = x'ff' WHERE row_id = 7",
    "a number not given out": "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'row'",
    "a width beyond reason": "UPDATE collection SET dim = 1 << 40",
    "two identities": "INSERT INTO collection SELECT * FROM collection",
    "another program's": "PRAGMA application_id = 7",
}


@pytest.mark.parametrize("what", DOCTORED)
def test_a_doctored_database_is_refused(taken, tmp_path, what):
    hostile = rewritten(taken, lambda parts: with_database(parts, tmp_path, DOCTORED[what]))
    with pytest.raises(CorruptSnapshot, match="damaged collection"):
        restore(hostile, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_control_a_harmless_change_of_the_database_is_accepted(taken, tmp_path):
    harmless = rewritten(taken, lambda parts: with_database(parts, tmp_path, "PRAGMA journal_mode = WAL"))
    assert restore(harmless, tmp_path / "r").sound


def test_every_cut_and_every_flip_is_refused(taken, tmp_path):
    """Of a trusted archive every byte counts, but for the fields of the headers that nobody reads."""
    whole = taken.read_bytes()
    damaged = tmp_path / "damaged.tar"
    refused = unread = 0
    for place in range(0, len(whole), 3_001):
        for data in (whole[:place], whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]):
            damaged.write_bytes(data)
            try:
                restore(damaged, tmp_path / "r", trusted=True)
            except CorruptSnapshot:
                refused += 1
                continue
            unread += 1
            report = verify(tmp_path / "r")
            assert report.sound and report.live == 100  # padding, perhaps: what was restored is the same
            (tmp_path / "r").rename(tmp_path / f"r{place}")
    assert refused > 50 and unread < refused / 10


def test_control_without_the_digests_damage_is_restored(taken, tmp_path, monkeypatch):
    """Of segments, which only the digest and their CRC guard."""

    def flip(parts: Members) -> None:
        data = bytearray(parts[3][1])
        data[len(data) // 2] ^= 4
        parts[3] = (parts[3][0], bytes(data))

    hostile = rewritten(taken, flip)
    with pytest.raises(CorruptSnapshot, match="segments/1.faiss is damaged"):
        restore(hostile, tmp_path / "r", trusted=True)
    monkeypatch.setattr(archive.hashlib, "sha256", Constant)
    monkeypatch.setattr(
        snapshot, "verify", lambda folder, files, segments: verify(folder, files, segments=False)
    )
    hostile = rewritten(
        hostile, lambda parts: in_manifest(parts, lambda m: [o.update(sha256="0" * 64) for o in m["members"]])
        , "again.tar"
    )  # fmt: skip
    restore(hostile, tmp_path / "r", trusted=True)
    assert (tmp_path / "r" / "segments" / "1.faiss").is_file()


class Constant:
    def update(self, block: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return "0" * 64
