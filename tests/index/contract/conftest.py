"""Every test here runs on each kind of store: a folder, Milvus Lite, and a Milvus server if one is named.

POLYLENS_TEST_MILVUS=milvus://127.0.0.1:19530 python -m pytest tests/index/contract -k server
"""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from polylens.index import AnyCollection, AnyStore, Store
from polylens.index.milvus import MilvusStore

SERVER = os.environ.get("POLYLENS_TEST_MILVUS", "")
NUMBERS = itertools.count()
Places = Callable[[], AnyStore]


@pytest.fixture(scope="module", params=["folder", "lite", "server"])
def kind(request) -> str:
    if request.param == "server" and not SERVER:
        pytest.skip("POLYLENS_TEST_MILVUS names no server")
    return request.param


@pytest.fixture(scope="module")
def shared(kind: str, tmp_path_factory) -> Iterator[AnyStore]:
    """One store for all tests of a file, as a Milvus takes seconds to start."""
    store = place(kind, tmp_path_factory.mktemp(kind))()
    yield store
    empty(store)
    store.close()


@pytest.fixture
def places(kind: str, tmp_path: Path) -> Iterator[Places]:
    """A function that opens the store of this test anew; those before must be closed."""
    opened, here = [], place(kind, tmp_path)

    def anew() -> AnyStore:
        opened.append(here())
        return opened[-1]

    yield anew
    for store in opened:
        store.close()
    if kind == "server":
        empty(anew())


def place(kind: str, folder: Path) -> Places:
    if kind == "folder":
        return lambda: Store(folder / "data")
    if kind == "lite":
        return lambda: MilvusStore(f"milvus+lite:{folder / 'data.db'}")
    namespace = f"t{os.getpid()}-{next(NUMBERS)}"
    return lambda: MilvusStore(f"{SERVER}/{namespace}")


def empty(store: AnyStore) -> None:
    for alias in store.aliases():
        store.unalias(alias)
    for entry in store.open_all():
        store.drop(entry.name)
    store.close()


@pytest.fixture
def collection(shared: AnyStore) -> Iterator[AnyCollection]:
    """An empty collection of width 8."""
    name = f"birds{next(NUMBERS)}"
    yield shared.create(name, dim=8, fingerprint="model-a")
    shared.drop(name)
