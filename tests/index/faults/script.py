"""The operations that the suites run, the model that says what must come of them, and the comparison.

Operation 0 creates the collection; every later one follows from its number alone. Legend: N rows, D width.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from polylens.index import Bulk, Collection, restore
from polylens.index.files import Files

DIM = 8
INDEX = "HNSW8"
CHANGES = ("upsert", "delete", "import")  # the kinds of operations that change items
PRODUCERS = ("snapshot", "restore")  # the kinds of operations that make something beside the collection
IDS = 40  # per thread: few, so that most upserts replace
Item = tuple[bytes, int]  # vector, number of the operation that wrote it (in the metadata)
State = dict[str, Item]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder, in memory where there is such a disk: a kill loses nothing of either."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def kind(number: int) -> str:
    """What operation `number` does."""
    if number == 0:
        return "create"
    if number % 12 == 7:
        return "seal"
    if number % 36 == 20:
        return "compact"
    if number % 36 == 14:
        return "snapshot"
    if number % 36 == 15:
        return "restore"
    if number % 36 == 16:
        return "import"
    if number % 24 == 23:
        return "reopen"
    return "delete" if number % 6 == 5 else "upsert"


def write(number: int, thread: int = 0) -> tuple[list[str], NDArray[np.float32] | None]:
    """The ids and unit vectors (N, D) that are upserted or imported, or the ids that are deleted and None."""
    generator = np.random.default_rng([thread, number])
    count = int(generator.choice([1, 2, 3, 20], p=[0.4, 0.3, 0.25, 0.05]))
    count = 25 if kind(number) == "import" else count
    ids = [f"{thread}-{n}" for n in generator.permutation(IDS)[:count]]
    if kind(number) == "delete":
        return ids, None
    vectors = generator.standard_normal((count, DIM))
    return ids, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def states(thread: int = 0) -> Iterator[State]:
    """The items after 0, 1, 2, ... operations."""
    state: State = {}
    for number in itertools.count():
        yield dict(state)
        if kind(number) not in CHANGES:
            continue
        ids, vectors = write(number, thread)
        for n, id in enumerate(ids):
            state.pop(id, None)
            if vectors is not None:
                state[id] = (vectors[n].tobytes(), number)


_states: list[State] = []
_further = states()


def expected(number: int) -> State:
    """The items after `number` operations; not to be changed."""
    _states.extend(itertools.islice(_further, max(0, number + 1 - len(_states))))
    return _states[number]


def change(collection: Collection, number: int, thread: int = 0) -> None:
    """Carries out an operation that changes items."""
    ids, vectors = write(number, thread)
    if vectors is None:
        collection.delete(ids)
    elif kind(number) == "import":
        texts = [f'{{"number": {number}}}'] * len(ids)
        collection.adopt(Bulk(f"{thread}-{number}", ids, texts, vectors))
    else:
        collection.upsert(ids, vectors, [{"number": number}] * len(ids))


class Session:
    """Carries the operations out on one collection; snapshots, and what is restored, lie beside it."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder, self.files = folder, files
        self._collection: Collection | None = None

    @property
    def collection(self) -> Collection:
        if self._collection is None:
            raise RuntimeError("operation 0 was not carried out")
        return self._collection

    def open(self) -> None:
        self._collection = Collection.open(self.folder, files=self.files, background=False)

    def carry_out(self, number: int) -> None:
        match kind(number):
            case "create":
                Collection.create(
                    self.folder, dim=DIM, fingerprint="f", index=INDEX, exist_ok=True, files=self.files
                ).close()
                self.open()
            case "seal":
                self.collection.seal()
            case "compact":
                self.collection.compact()
            case "snapshot":
                self.files.unlink(self.snapshot)
                self.collection.snapshot(self.snapshot)
            case "restore":
                self._clear_restored()
                restore(self.snapshot, self.restored, self.files, trusted=number % 72 < 36)
            case "reopen":
                self.close()
                self.open()
            case _:
                change(self.collection, number)

    def _clear_restored(self) -> None:
        """Removes what was restored last time; like what `Store.drop` removes, it loses its name first."""
        doomed = self.folder.with_suffix(".doomed")
        if doomed.exists():  # of a removal that was cut short
            self.files.remove_folder(doomed)
        if self.restored.exists():
            self.files.rename(self.restored, doomed)
            self.files.remove_folder(doomed)

    @property
    def snapshot(self) -> Path:
        return self.folder.with_suffix(".tar")

    @property
    def restored(self) -> Path:
        return self.folder.with_suffix(".restored")

    def close(self) -> None:
        if self._collection is not None:
            self._collection.close()


def check_products(folder: Path, number: int) -> None:
    """Raises AssertionError unless what operations before `number` made beside the collection is whole.

    Operation `number` was under way: what it was to replace or make may be there, or not.
    """
    session = Session(folder, Files())
    for product, path in (("snapshot", session.snapshot), ("restore", session.restored)):
        taken = [n - (product == "restore") for n in range(number + 1) if kind(n) == product]
        if not path.exists():
            assert not taken or kind(number) == product, f"{path} is gone"
            continue
        source = path
        if product == "snapshot":
            source = path.with_suffix(".unpacked")
            restore(path, source, trusted=True)
        with Collection.open(source, background=False) as collection:
            assert held(collection) in [expected(n) for n in taken[-2:]], f"{path} holds another state"


def held(collection: Collection) -> State:
    """All items, read in every way there is; raises AssertionError when the ways disagree."""
    records = collection.scan(limit=10_000)
    found = {record.id: (record.vector.tobytes(), record.metadata["number"]) for record in records}
    ids = [record.id for record in records]
    assert len(set(ids)) == len(ids) == collection.count(), f"{ids}, counted {collection.count()}"
    if records:
        vectors = np.stack([record.vector for record in records])
        for id, hits in zip(ids, collection.search(vectors, k=3), strict=True):
            assert hits.ids[0] == id and abs(hits.scores[0] - 1) < 1e-6, f"{id} is not found: {hits.ids}"
        everything = collection.search(vectors[:1], k=1_000)[0]
        assert sorted(everything.ids) == sorted(ids), "deleted items are found, or stored ones are not"
    return found
