"""A folder of collections: names, isolation of a bad one, dropping."""

from pathlib import Path

import pytest
from polylens.index import Collection, Store
from polylens.index.errors import (
    CollectionBusy,
    CollectionClosed,
    CollectionExists,
    CollectionNotFound,
    CorruptCollection,
    FingerprintMismatch,
    InvalidName,
)


def test_create_open_get_list_drop(tmp_path: Path, unit):
    with Store(tmp_path / "data") as store:
        assert store.list() == ()
        birds = store.create("birds", dim=8, fingerprint="model-a")
        birds.upsert(["a"], unit(1))
        store.create("fish.2026_v-1", dim=4, fingerprint="model-b")
        assert store.get("birds") is store.open("birds", fingerprint="model-a") is birds
        assert [(entry.name, entry.error) for entry in store.list()] == [
            ("birds", None),
            ("fish.2026_v-1", None),
        ]
        with pytest.raises(CollectionExists):
            store.create("birds", dim=8, fingerprint="model-a")
        assert store.create("birds", dim=8, fingerprint="model-a", exist_ok=True) is birds
        with pytest.raises(FingerprintMismatch):
            store.create("birds", dim=8, fingerprint="model-b", exist_ok=True)
        with pytest.raises(FingerprintMismatch):
            store.open("birds", fingerprint="model-b")
        for call in (store.get, store.open, store.drop):
            with pytest.raises(CollectionNotFound, match="'fishes'"):
                call("fishes")
        store.drop("fish.2026_v-1")
        with pytest.raises(CollectionNotFound):
            store.get("fish.2026_v-1")
    with pytest.raises(CollectionClosed):
        birds.get(["a"])
    with Store(tmp_path / "data") as store:
        assert store.list() == ()  # nothing is open yet
        assert [entry.name for entry in store.open_all()] == ["birds"]
        assert store.get("birds").count() == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["birds"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "/abs",
        "A",
        "-x",
        ".x",
        "_x",
        "a" * 65,
        "ä",
        "a b",
        "a\n",
        "a\0",
        None,
        3,
        b"a",
    ],
)
def test_other_names_are_refused_everywhere(tmp_path: Path, name):
    with Store(tmp_path / "data") as store:
        for call in (store.get, store.open, store.drop, lambda n: store.create(n, dim=4, fingerprint="f")):
            with pytest.raises(InvalidName, match="expected 1 to 64"):
                call(name)
    assert list(tmp_path.iterdir()) == [tmp_path / "data"] and not any((tmp_path / "data").iterdir())


def test_a_bad_collection_never_stops_the_others(tmp_path: Path, unit):
    with Store(tmp_path) as store:
        for name in ("a", "b", "c", "d"):
            store.create(name, dim=8, fingerprint="f").upsert([name], unit(1))
    (tmp_path / "b" / "collection.db").write_bytes(b"not a database, but long enough to be one" * 100)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "collection.db").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "notes.txt").write_text("not ours")
    with Collection.open(tmp_path / "d"), Store(tmp_path) as store:
        entries = {entry.name: entry for entry in store.open_all()}
        assert list(entries) == ["a", "b", "c", "d"]
        assert isinstance(entries["b"].error, CorruptCollection) and entries["b"].collection is None
        assert isinstance(entries["d"].error, CollectionBusy)
        for name in ("a", "c"):
            assert store.get(name).search(unit(1))[0].ids == [name]
        for _ in range(2):
            with pytest.raises(CorruptCollection):
                store.get("b")
        store.drop("b")  # what cannot be opened can still be dropped
        assert [entry.name for entry in store.list()] == ["a", "c", "d"]
        store.create("b", dim=8, fingerprint="f")
        assert store.get("b").count() == 0


def test_dropping_what_somebody_else_uses_is_refused(tmp_path: Path, unit):
    with Store(tmp_path) as mine, Store(tmp_path) as other:
        mine.create("birds", dim=8, fingerprint="f").upsert(["a"], unit(1))
        with pytest.raises(CollectionBusy):
            other.drop("birds")
        assert mine.get("birds").get(["a"])[0].id == "a"
        mine.get("birds").close()
        other.drop("birds")


def test_a_drop_that_was_cut_short_is_finished_later(tmp_path: Path):
    with Store(tmp_path) as store:
        store.create("birds", dim=8, fingerprint="f")
    (tmp_path / "birds").rename(tmp_path / ".trash-birds-1234")
    with Store(tmp_path) as store:
        assert store.open_all() == ()
    assert list(tmp_path.iterdir()) == []


def test_dropping_touches_only_collections(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"mine")
    with Store(tmp_path) as store, pytest.raises(CollectionNotFound):
        store.drop("photos")
    assert (tmp_path / "photos" / "one.jpg").exists()
