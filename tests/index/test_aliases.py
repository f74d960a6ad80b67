"""Aliases: switched in one step, kept, never hiding a collection, never left half written."""

import json
from pathlib import Path

import pytest
from polylens.index import Store
from polylens.index.aliases import Aliases
from polylens.index.errors import (
    CollectionAliased,
    CollectionBusy,
    CollectionExists,
    CollectionNotFound,
    CorruptCollection,
    FingerprintMismatch,
    InvalidName,
    StorageFailed,
)
from polylens.index.files import Files


@pytest.fixture
def store(tmp_path: Path, unit):
    """Two collections, "old" of model-a with the item "a" and "new" of model-b with the item "b"."""
    with Store(tmp_path / "data") as made:
        made.create("old", dim=8, fingerprint="model-a").upsert(["a"], unit(1))
        made.create("new", dim=8, fingerprint="model-b").upsert(["b"], unit(1))
        yield made


def test_re_embed_switch_drop(store, unit):
    store.alias("birds", "old")
    assert store.get("birds") is store.open("birds") is store.get("old")
    assert store.aliases() == {"birds": "old"}
    store.alias("birds", "new")
    assert store.get("birds").search(unit(1))[0].ids == ["b"]
    store.drop("old")
    assert store.aliases() == {"birds": "new"}
    assert [entry.name for entry in store.list()] == ["new"]
    with pytest.raises(FingerprintMismatch):
        store.open("birds", fingerprint="model-a")


def test_an_alias_survives_reopening_and_the_end_of_its_writer(store):
    store.alias("birds", "old")
    store.alias("fish", "old")
    store.unalias("fish")
    root = store.root
    store.close()
    (root / "aliases.tmp").write_text("what a kill left behind")
    with Store(root) as again:
        assert again.aliases() == {"birds": "old"}
        assert again.open("birds").count() == 1
        again.alias("fish", "new")
    with Store(root) as third:
        assert third.aliases() == {"birds": "old", "fish": "new"}


def test_create_with_the_name_of_an_alias(store):
    store.alias("birds", "old")
    with pytest.raises(CollectionExists, match="an alias of 'old'"):
        store.create("birds", dim=8, fingerprint="model-a")
    assert store.create("birds", dim=8, fingerprint="model-a", exist_ok=True) is store.get("old")
    with pytest.raises(FingerprintMismatch):
        store.create("birds", dim=8, fingerprint="model-b", exist_ok=True)


def test_what_an_alias_may_not_do(store):
    with pytest.raises(CollectionExists, match="'new' already"):
        store.alias("new", "old")
    with pytest.raises(CollectionNotFound, match="no collection 'nothing'"):
        store.alias("birds", "nothing")
    store.alias("birds", "old")
    with pytest.raises(CollectionAliased, match="'birds' is an alias itself"):
        store.alias("fish", "birds")
    with pytest.raises(CollectionAliased, match="has aliases: birds"):
        store.drop("old")
    with pytest.raises(CollectionAliased, match="'birds' is an alias of 'old'"):
        store.drop("birds")
    with pytest.raises(CollectionNotFound, match="no alias 'old'"):
        store.unalias("old")
    for bad in ("", "../up", "A", None):
        for call in (lambda n: store.alias(n, "old"), lambda n: store.alias("x", n), store.unalias):
            with pytest.raises(InvalidName):
                call(bad)
    assert store.aliases() == {"birds": "old"} and store.get("old").count() == 1


def test_a_dangling_alias_says_so(store):
    store.alias("birds", "old")
    store.get("old").close()
    root = store.root
    store.close()
    (root / "old").rename(root / "elsewhere")
    with Store(root) as again:
        for call in (again.open, again.get):
            with pytest.raises(CollectionNotFound, match="'birds' points to collection 'old', which is not"):
                call("birds")
        again.alias("birds", "new")
        assert again.open("birds").count() == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-4],
        lambda text: text.replace("old", "new"),
        lambda text: "",
        lambda text: "[]",
        lambda text: json.dumps({"aliases": [], "checksum": 0}),
    ],
    ids=["cut", "changed", "empty", "a list", "no object"],
)
def test_a_damaged_file_stops_aliases_but_no_collection(store, damage):
    store.alias("birds", "old")
    path = store.root / "aliases.json"
    path.write_text(damage(path.read_text()))
    for call in (store.aliases, lambda: store.open("birds"), lambda: store.drop("old")):
        with pytest.raises(CorruptCollection, match="aliases.json is damaged"):
            call()
    assert store.open("old").count() == store.get("new").count() == 1


def test_control_without_its_checksum_a_changed_file_is_believed(store, monkeypatch):
    store.alias("birds", "old")
    path = store.root / "aliases.json"
    monkeypatch.setattr(
        "polylens.index.aliases._checksum", lambda aliases: json.loads(path.read_text())["checksum"]
    )
    path.write_text(path.read_text().replace("old", "new"))
    assert store.aliases() == {"birds": "new"}


class Failing(Files):
    """Breaks off at one step of writing the file."""

    def __init__(self, step: str) -> None:
        self.step = step

    def create(self, path):
        output = super().create(path)
        if self.step in ("write", "sync"):
            setattr(output, self.step, self._fail)
        return output

    def publish(self, temporary, path):
        if self.step == "publish":
            self._fail()
        super().publish(temporary, path)

    def _fail(self, *_):
        raise StorageFailed("no")


@pytest.mark.parametrize("step", ["write", "sync", "publish"])
def test_a_change_that_fails_leaves_the_aliases_as_they_were(tmp_path, step):
    Aliases(tmp_path, Files()).write({"birds": "old"})
    with pytest.raises(StorageFailed):
        Aliases(tmp_path, Failing(step)).write({"birds": "new"})
    assert Aliases(tmp_path, Files()).read() == {"birds": "old"}
    Aliases(tmp_path, Files()).write({"fish": "new"})  # and nothing is left locked
    assert Aliases(tmp_path, Files()).read() == {"birds": "old", "fish": "new"}


def test_the_file_is_synced_before_it_gets_its_name(tmp_path):
    steps = []

    class Watched(Files):
        def create(self, path):
            output = super().create(path)
            honest = output.sync
            output.sync = lambda: (steps.append("sync"), honest())
            return output

        def publish(self, temporary, path):
            steps.append("publish")
            super().publish(temporary, path)

    Aliases(tmp_path, Watched()).write({"birds": "old"})
    assert steps == ["sync", "publish"]


class Peeking(Files):
    """Notes what a reader meets while the file is half written."""

    def __init__(self, root: Path) -> None:
        self.root, self.met = root, []

    def create(self, path):
        output = super().create(path)
        put = output.write

        def in_two_halves(data):
            put(data[: len(data) // 2])
            try:
                self.met.append(Aliases(self.root, Files()).read())
            except CorruptCollection:
                self.met.append("torn")
            put(data[len(data) // 2 :])

        output.write = in_two_halves
        return output


class InPlace(Peeking):
    """The null control: writes into the file itself."""

    def create(self, path):
        return super().create(self.root / "aliases.json")

    def publish(self, temporary, path):
        pass


@pytest.mark.parametrize("files", [Peeking, InPlace], ids=["renamed", "control: written in place"])
def test_readers_see_one_whole_state(tmp_path, files):
    Aliases(tmp_path, Files()).write({"birds": "old"})
    watched = files(tmp_path)
    Aliases(tmp_path, watched).write({"birds": "new"})
    assert watched.met == ([{"birds": "old"}] if files is Peeking else ["torn"])
    assert Aliases(tmp_path, Files()).read() == {"birds": "new"}


def test_two_processes_do_not_overwrite_each_others_changes(tmp_path):
    mine = Aliases(tmp_path, Files())
    lock = Files().lock(tmp_path / "aliases.lock")
    with pytest.raises(CollectionBusy):
        mine.write({"birds": "old"})
    lock.release()
    mine.write({"birds": "old"})
    assert mine.read() == {"birds": "old"}
