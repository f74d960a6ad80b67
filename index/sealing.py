"""Sealing: a run of segments becomes one sealed segment of their live rows.

The files are written and synced first, while everybody searches and writes on. Then, in one turn of the
writer: one transaction that replaces the segments in the manifest, and the view that does the same for
searches. Only then old files and dead rows go. A crash at any moment leaves the old segments or the new one,
and perhaps files of neither, which the next opening removes.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import faiss_build, manifest, policy, rows, sealed, tune
from .database import Database, reported
from .errors import CollectionBusy, CollectionClosed, StorageFailed, StorageFull
from .faiss_build import Steps
from .faiss_index import EXACT, FaissIndex
from .files import Files
from .memory import Memory, View
from .schema import Identity
from .sealed import Sealed, Stamp
from .segment import Segment, Vectors
from .tune import Curve
from .writer import Writer

PURGED = 2_048  # dead rows removed from the database per turn of the writer
NO_FILE = Stamp(0, 0)
Choice = Callable[[View], range | None]  # which segments of a view to make one
Builder = Callable[[Segment, str, Steps], FaissIndex]  # of the new segment's rows, the factory


def silent(_what: str, _done: int, _of: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a collection is kept."""

    folder: Path
    files: Files
    database: Database
    identity: Identity


class Sealing:
    """Replaces runs of segments, one at a time."""

    def __init__(self, place: Place, memory: Memory, writer: Writer) -> None:
        self.place, self.memory, self.writer = place, memory, writer
        self.turn = threading.Lock()
        self._used = 0  # the highest segment id tried: never twice, so that no file is written twice

    def run(
        self,
        choose: Choice,
        wanted: policy.Policy,
        progress: Steps = silent,
        builder: Builder | None = None,
    ) -> tuple[Segment, ...]:
        """The chosen segments as they were, once one sealed segment has taken their place; () if none."""
        with self.turn:
            with self.writer.exclusive():
                view = self.memory.freeze()
            try:
                chosen = choose(view)
                if not chosen:
                    return ()
                old = view.segments[chosen.start : chosen.stop]
                self._replace(old, wanted, progress, builder or _built)
                return old
            finally:
                self.memory.thaw()

    def seal(self, wanted: policy.Policy, progress: Steps = silent) -> int:
        """The number of rows that were in no file and are now.

        Rows written from now on do not count, else there might be no end.
        """
        segments, count = self.memory.view.segments, 0
        last = int(segments[-1].row_ids_N[-1]) if segments else 0
        while old := self.run(lambda view: policy.loose(view, last), wanted, progress):
            count += sum(segment.live_count for segment in old if segment.sealed is None)
        return count

    def compact(self, wanted: policy.Policy, progress: Steps = silent) -> int:
        """The number of dead rows dropped; all live ones are in one sealed segment."""
        old = self.run(policy.everything, wanted, progress)
        dropped = sum(len(segment) - segment.live_count for segment in old)
        with self.place.database.reader() as connection:
            dead = rows.counts(connection)[1]
        # The view is the later of the two, so a row that is not in it is in none from now on.
        known = [segment.row_ids_N[segment.positions(dead)] for segment in self.memory.view.segments]
        left = np.setdiff1d(dead, np.concatenate([dead[:0], *known]), assume_unique=True)
        self.purge(left)
        return dropped + len(left)

    def tune(self, queries_QD: NDArray[np.float32] | None, k: int, target: float, store: bool) -> list[Curve]:
        """The curve of every segment with an index; with `store` its searches use what was chosen."""
        curves = []
        with self.turn:
            for segment in self.memory.view.segments:
                if segment.sealed is None or segment.sealed.index is None:
                    continue
                asked = tune.sample(segment) if queries_QD is None else tune.Questions(queries_QD, own=False)
                curves.append(tune.curve(segment, asked, k, target))
                if store:
                    self._retune(curves[-1])
        return curves

    def _retune(self, curve: Curve) -> None:
        with self.writer.exclusive():
            with self.writer.transaction() as connection:
                manifest.tune(connection, curve.segment_id, curve.parameters)
            self.memory.retune(curve.segment_id, curve.parameters)

    def settle(self, wanted: policy.Policy, progress: Steps = silent) -> None:
        """Seals, merges and indexes whatever is due."""
        while self.run(lambda view: policy.due(wanted, view), wanted, progress):
            pass

    def _replace(
        self, old: tuple[Segment, ...], wanted: policy.Policy, progress: Steps, builder: Builder
    ) -> None:
        count = sum(segment.live_count for segment in old)
        segment_id = self.next_id()
        new = None
        try:
            if count:
                new = self._written(segment_id, old, count, wanted, progress, builder)
        except BaseException:
            self.remove_files(segment_id)
            raise
        try:
            self._switch(old, new)
        except (StorageFull, CollectionBusy, CollectionClosed):
            self.remove_files(segment_id)
            raise  # after any other error it may be committed: the next opening knows what to keep
        for segment in old:
            if segment.sealed is not None:
                self.remove_files(segment.sealed.segment_id)
        self.purge(np.concatenate([segment.dead_rows for segment in old]))

    def next_id(self) -> int:
        """A segment id that was never used."""
        with reported(self.place.database.path), self.place.database.reader() as connection:
            self._used = max(self._used + 1, manifest.next_id(connection))
        return self._used

    def _written(
        self,
        segment_id: int,
        old: tuple[Segment, ...],
        count: int,
        wanted: policy.Policy,
        progress: Steps,
        builder: Builder,
    ) -> Segment:
        """The new segment, whose files are durable."""
        folder, files, identity = self.place.folder, self.place.files, self.place.identity
        size = sealed.rows_size(count, identity.dim, identity.storage)
        factory = policy.factory(wanted, count, identity.dim)
        self.place.database.require_space(size if factory == EXACT else size + 5 * count * identity.dim)
        files.make_folder(folder / sealed.FOLDER)
        path = sealed.rows_path(folder, segment_id)
        row_ids = _live_row_ids(old)
        norm = max(segment.max_norm for segment in old)

        def fill(put: Callable[[bytes], None]) -> None:
            blocks = counted(_live_vectors(old), count, progress)
            sealed.fill_rows(put, row_ids, blocks, identity.dim, identity.storage, norm)

        stamp = self._linked(old, path) or sealed.write_file(files, path, fill)
        mapped = sealed.map_rows(files, path, count, identity.dim, identity.storage)
        new = Segment(mapped.vectors_ND, mapped.row_ids_N, None, count, mapped.max_norm)
        index, index_stamp, tuned = None, NO_FILE, dict[str, int]()
        if factory != EXACT:
            index = builder(new, factory, progress)
            index_stamp = sealed.write_file(files, sealed.index_path(folder, segment_id), index.write)
            tuned = tune.parameters(new, index, tune.sample(new), progress=lambda: progress("tuning", 0, 1))
        sole = any(segment.sealed is not None and segment.sealed.sole for segment in old)
        of_file = Sealed(segment_id, factory, stamp, index_stamp, tuned, index, sole)
        return Segment(new.vectors_ND, new.row_ids_N, None, count, new.max_norm, of_file)

    def _linked(self, old: tuple[Segment, ...], path: Path) -> Stamp | None:
        """The stamp of the rows under their new name, if they are those of one file: another index is wanted.

        None where rows are to be written, also because the file system has no second names for a file.
        """
        match old:
            case (Segment(live_N=None, sealed=Sealed() as before),):
                folder, files = self.place.folder, self.place.files
                if files.link(sealed.rows_path(folder, before.segment_id), path):
                    return before.rows
        return None

    def _switch(self, old: tuple[Segment, ...], new: Segment | None) -> None:
        replaced = [segment.sealed.segment_id for segment in old if segment.sealed is not None]
        bounds = (int(old[0].row_ids_N[0]), int(old[-1].row_ids_N[-1]))
        with self.writer.exclusive():
            with self.writer.transaction() as connection:
                manifest.remove(connection, replaced)
                if new is not None and new.sealed is not None:
                    rows_of = (int(new.row_ids_N[0]), int(new.row_ids_N[-1]))
                    manifest.add(connection, new.sealed, rows_of, len(new))
            self.memory.exchange(*bounds, new)

    def remove_files(self, segment_id: int) -> None:
        """Removes a segment's files; what stays, the next opening removes."""
        for path in (sealed.rows_path, sealed.index_path):
            try:
                self.place.files.unlink(path(self.place.folder, segment_id))
            except (StorageFailed, StorageFull):
                return

    def purge(self, dead_K: NDArray[np.int64]) -> None:
        """Removes dead rows that no segment has any more, a few at a time, so that writes come between."""
        for start in range(0, len(dead_K), PURGED):
            try:
                with self.writer.exclusive(), self.writer.transaction() as connection:
                    rows.purge(connection, dead_K[start : start + PURGED])
            except (StorageFull, CollectionBusy):
                return  # the next opening sees them too


def _live_row_ids(segments: tuple[Segment, ...]) -> NDArray[np.int64]:
    return np.concatenate([row_ids for segment in segments for row_ids, _ in segment.live_blocks()])


def _live_vectors(segments: tuple[Segment, ...]) -> Iterator[Vectors]:
    for segment in segments:
        for _, vectors in segment.live_blocks():
            yield vectors


def counted(blocks: Iterator[Vectors], total: int, progress: Steps) -> Iterator[Vectors]:
    """The blocks, each reported once it was used."""
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        progress("writing", done, total)


def _built(segment: Segment, factory: str, progress: Steps) -> FaissIndex:
    dim = segment.vectors_ND.shape[1]
    sample = segment.floats(faiss_build.sample_rows(factory, dim, len(segment)))
    blocks = (vectors.astype(np.float32, copy=False) for _, vectors in segment.live_blocks())
    return faiss_build.build(factory, dim, len(segment), sample, blocks, progress)
