"""A collection's folder: made, opened, refused. What every collection does is tested in contract/."""

from pathlib import Path

import pytest
from polylens.index import Collection
from polylens.index.errors import (
    CollectionExists,
    CollectionNotFound,
    DimensionMismatch,
    FingerprintMismatch,
)


def test_creating_opening_and_refusing(tmp_path: Path):
    path = tmp_path / "deep" / "er"
    with pytest.raises(CollectionNotFound):
        Collection.open(path)
    assert not path.exists()  # asking left nothing behind
    Collection.create(path, dim=4, fingerprint="model-a").close()
    with pytest.raises(CollectionExists):
        Collection.create(path, dim=4, fingerprint="model-a")
    Collection.create(path, dim=4, fingerprint="model-a", exist_ok=True).close()
    with pytest.raises(DimensionMismatch, match="width 4, not 5"):
        Collection.create(path, dim=5, fingerprint="model-a", exist_ok=True)
    with pytest.raises(FingerprintMismatch, match="model-a.*model-b"):
        Collection.create(path, dim=4, fingerprint="model-b", exist_ok=True)
    with pytest.raises(FingerprintMismatch, match="model-a.*model-b"):
        Collection.open(path, fingerprint="model-b")
    with Collection.open(path, fingerprint="model-a") as opened:  # and no refusal left it locked
        opened.require("model-a")
        with pytest.raises(FingerprintMismatch):
            opened.require("model-b")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    with pytest.raises(CollectionExists, match="thesis"):
        Collection.create(tmp_path / "other", dim=4, fingerprint="model-a")


def test_a_creation_that_never_finished_is_no_collection_and_can_be_repeated(tmp_path: Path):
    path = tmp_path / "half"
    path.mkdir()
    (path / "collection.db").touch()  # what a kill right after the file was made leaves
    with pytest.raises(CollectionNotFound, match="never completely created"):
        Collection.open(path)
    with Collection.create(path, dim=4, fingerprint="model-a") as made:
        assert made.count() == 0
