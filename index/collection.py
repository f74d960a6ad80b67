"""A durable collection of vectors with ids and metadata: opening, changing and maintaining it."""

import contextlib
import os
from pathlib import Path
from typing import Self

from numpy.typing import ArrayLike

from . import loading, manifest, policy, schema, validation
from .bulk import Bulk, store
from .changes import Change
from .database import DATABASE, MIN_FREE, Database
from .errors import CollectionExists, CollectionNotFound
from .faiss_build import Steps
from .files import LOCK, Files, Lock
from .filters import Filter, to_sql
from .policy import Policy
from .reading import Reading
from .schema import Identity
from .sealed import FOLDER as SEGMENTS
from .sealer import Sealer
from .sealing import Place, Sealing, silent
from .snapshot import Snapshot, take
from .state import CollectionState, state
from .tune import TARGET, Curve
from .writer import Writer

StrPath = str | os.PathLike[str]


class Collection(Reading):
    """Vectors of one width from one model. Use it from any number of threads, from one process at a time.

    A write returns once it is on disk (synced) and searchable; a search sees a write wholly or not at all.
    Upserting an id replaces the item. The SQLite file is the truth; what is in memory is rebuilt from it at
    opening.
    """

    def __init__(
        self,
        path: Path,
        lock: Lock,
        database: Database,
        identity: Identity,
        *,
        files: Files,
        background: bool = True,
    ) -> None:
        """Use `create` or `open`."""
        self.path, self._lock = path, lock
        loaded = loading.load(Place(path, files, database, identity))
        super().__init__(path, database, identity, loaded.memory)
        self._degraded, self._policy = loaded.degraded, loaded.policy
        self._writer = Writer(database, self._memory)
        self.sealing = Sealing(Place(path, files, database, identity), self._memory, self._writer)
        self._sealer = Sealer(self.sealing, self._memory, lambda: self._policy) if background else None
        self._nudge()

    @classmethod
    def create(
        cls,
        path: StrPath,
        *,
        dim: int,
        fingerprint: str,
        metric: str = "cosine",
        dtype: str = "float32",
        index: str = policy.AUTO,
        exist_ok: bool = False,
        files: Files | None = None,
        min_free: int = MIN_FREE,
    ) -> Self:
        """A new, empty collection in the folder `path`; with `exist_ok` also an existing one like it.

        With the metric "cosine" vectors are unit; "inner_product" takes them of any length. With the dtype
        "float16" they are rounded when stored, to half the bytes, and scores are those of what is stored.
        For `index` see `configure`.
        """
        wanted = Identity.of(dim, fingerprint, metric, dtype)
        asked = Policy(index).checked(dim)
        folder, files = Path(path), files or Files()
        files.make_folder(folder)
        strangers = {entry.name for entry in folder.iterdir()} - {
            LOCK,
            SEGMENTS,
            *(DATABASE + s for s in ("", "-wal", "-shm")),
        }
        if strangers:
            raise CollectionExists(f"{folder} holds other files: {', '.join(sorted(strangers)[:3])}")
        with contextlib.ExitStack() as undo:
            lock, database, found = loading.acquire(folder, files, min_free, undo)
            if found is None:
                database.require_space()
                with database.transaction() as connection:
                    schema.create(connection, wanted)
                    manifest.store_setting(connection, policy.SETTING, asked.as_json())
                files.sync_folder(folder)
            elif not exist_ok:
                raise CollectionExists(f"{folder} is a collection already")
            else:
                found.require(folder, wanted.fingerprint, wanted.dim, wanted.metric, wanted.dtype)
            collection = cls(folder, lock, database, wanted, files=files)
            undo.pop_all()
        return collection

    @classmethod
    def open(
        cls,
        path: StrPath,
        *,
        fingerprint: str | None = None,
        files: Files | None = None,
        background: bool = True,
        min_free: int = MIN_FREE,
    ) -> Self:
        """The collection in the folder `path`; refused if a fingerprint is given and it has another.

        Without `background` segments are sealed and merged by `seal` and `compact` only.
        While fewer than `min_free` bytes are free on its disk, it takes no writes but deletions.
        """
        folder, files = Path(path), files or Files()
        if not (folder / DATABASE).is_file():
            raise CollectionNotFound(f"there is no collection in {folder}")
        with contextlib.ExitStack() as undo:
            lock, database, found = loading.acquire(folder, files, min_free, undo)
            if found is None:
                raise CollectionNotFound(f"the collection in {folder} was never completely created")
            found.require(folder, fingerprint)
            collection = cls(folder, lock, database, found, files=files, background=background)
            undo.pop_all()
        return collection

    def delete_where(self, filter: Filter, *, idempotency_key: str | None = None) -> int:
        """The number of items deleted, once that is durable: those that pass the filter at that moment."""
        return self._submit(Change(condition=to_sql(filter)), idempotency_key)

    def _write(self, change: Change) -> int:
        result = self._writer.submit(change).result
        self._nudge()
        return result

    def _nudge(self) -> None:
        if self._sealer is not None:
            self._sealer.nudge()

    def adopt(self, part: Bulk, progress: Steps = silent) -> int:
        """The number of items stored, all or none, from vectors that are written one time, as a segment.

        For many rows at once, up to 2 million: the vectors are not written into the database as well. 0 if a
        part of this name with the same vectors was stored before. See `index.importing` for whole folders.
        """
        stored = store(self.sealing, part, progress)
        self._nudge()
        return stored

    def seal(self, progress: Steps = silent) -> int:
        """The number of rows sealed now, in this thread: all that were in no segment's file."""
        sealed = self.sealing.seal(self._policy, progress)
        self._degraded.clear()
        return sealed

    def settle(self, progress: Steps = silent) -> None:
        """Seals, merges and indexes now, in this thread, what is otherwise left to the background."""
        self.sealing.settle(self._policy, progress)
        self._degraded.clear()

    def compact(self, progress: Steps = silent) -> int:
        """The number of dead rows dropped; what is left is one sealed segment of the configured kind."""
        dropped = self.sealing.compact(self._policy, progress)
        self._degraded.clear()
        return dropped

    def configure(
        self,
        index: str = policy.AUTO,
        *,
        memory_bytes: int | None = None,
        latency_ms: float | None = None,
    ) -> None:
        """Stores which index sealed segments get: a FAISS factory string, or "auto" with two aims.

        "Flat", "SQfp16", "HNSW32", "IVF1024,Flat", "IVF4096,SQ8" and "OPQ64,IVF4096,PQ64" are examples.
        Segments too small for the index stay "Flat", which is exact. Existing segments change in the
        background, or with `compact`. For "auto", `memory_bytes` limits what the indexes hold in memory, and
        `latency_ms` is what a single query may take.
        """
        wanted = Policy(index, memory_bytes, latency_ms).checked(self.dim)
        with self._writer.exclusive(), self._writer.transaction() as connection:
            manifest.store_setting(connection, policy.SETTING, wanted.as_json())
        self._policy = wanted
        self._nudge()

    def tune(
        self,
        vectors_QD: ArrayLike | None = None,
        *,
        k: int = 10,
        target: float = TARGET,
        store: bool = True,
        normalize: bool = False,
    ) -> list[Curve]:
        """For each segment with an index what its parameters bring, and the cheapest that reach the recall.

        Asks with real queries if given, else with rows. With `store`, searches use what was chosen.
        """
        k = validation.whole("k", k, 1, validation.MAX_K)
        target = validation.fraction("target", target, 0, 1)
        queries = None if vectors_QD is None else self._queries(vectors_QD, normalize)
        return self.sealing.tune(queries, k, target, store)

    def info(self) -> CollectionState:
        """What the collection consists of right now."""
        problem = [self._sealer.problem] if self._sealer is not None and self._sealer.problem else []
        view, degraded = self._memory.view, self._degraded + problem
        return state(self.path, self._identity, view, self._policy.index, degraded)

    def snapshot(self, path: StrPath) -> Snapshot:
        """Writes what the collection holds now to one new file; searches and writes go on meanwhile.

        `polylens.index.restore` makes a collection of it again.
        """
        return take(self._database, Path(path))

    def vacuum(self) -> None:
        """Gives the database's free pages back to the disk; nobody can write meanwhile."""
        with self._writer.exclusive():
            self._database.vacuum()

    def close(self) -> None:
        """Lets running writes finish and releases the collection; calling it again does nothing.

        A segment that is being built in the background is given up.
        """
        if self._sealer is not None:
            self._sealer.stop()
        healthy = self._writer.close()
        if healthy is None:
            return
        try:
            self._database.close()
        finally:
            self._lock.release(clean=healthy)
