"""One writer, several searchers and the sealer at once on one collection, compared with brute force.

A search is right if one state of the collection, none older than what was acknowledged before it began and
none newer than what had been started when it ended, gives its hits: all of them where the search is exact,
else only hits that are in it, with the right scores in the right order.

Q queries, N items, D width.
"""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from polylens.index import Collection, faiss_build, plan, tune
from polylens.index.plan import USUAL, Effort
from polylens.index.segment import Buffer

WIDTH, IDS = 12, 400
LEAST_SEALS = 6  # however long they take
State = dict[str, NDArray[np.float32]]  # in the order of writing
EXHAUSTIVE = Effort(nprobe=65_536)  # through the index, but through all of it
__all__ = ["EXHAUSTIVE", "USUAL", "LateBuffer", "Report", "run", "small_segments"]


@contextlib.contextmanager
def small_segments() -> Iterator[None]:
    """Within, segments of a few hundred rows get an index, and it is asked."""
    with (
        mock.patch.object(faiss_build, "MIN_POINTS_PER_LIST", 1),
        mock.patch.object(plan, "scan_cost", lambda *_: np.inf),
        mock.patch.object(tune, "QUERIES", 8),
    ):
        yield


@dataclasses.dataclass
class Journal:
    """Every state the writer went through that a search may still refer to, by its number."""

    states: dict[int, State] = dataclasses.field(default_factory=lambda: {0: {}})
    started: int = 0
    done: int = 0

    def write(self, state: State, action: Callable[[], object]) -> None:
        self.states[self.started + 1] = state
        self.started += 1
        action()
        self.done += 1

    def forget(self, oldest: int) -> None:
        for number in [n for n in self.states if n < oldest]:
            del self.states[number]


@dataclasses.dataclass
class Report:
    """What happened; `mismatches` and `errors` must be empty."""

    writes: int = 0
    searches: int = 0
    seals: int = 0
    found: int = 0
    missed: int = 0
    mismatches: list[str] = dataclasses.field(default_factory=list)
    errors: list[BaseException] = dataclasses.field(default_factory=list)


def unit(generator: np.random.Generator, rows: int) -> NDArray[np.float32]:
    vectors = generator.standard_normal((rows, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Contest:
    def __init__(
        self, collection: Collection, exact: bool, effort: Effort, seconds: float, seed: int
    ) -> None:
        self.collection, self.exact, self.effort, self.seed = collection, exact, effort, seed
        self.until = time.monotonic() + seconds
        self.journal, self.report = Journal(), Report()
        self._reading: dict[int, int] = {}  # searcher -> oldest state that it may refer to

    def going(self) -> bool:
        late = time.monotonic() >= self.until and self.report.seals >= LEAST_SEALS
        return not (late or self.report.errors or self.report.mismatches)

    def write(self, _number: int) -> None:
        generator = np.random.default_rng([self.seed, 0])
        while self.going():
            chosen = generator.choice(IDS, generator.integers(1, 60), replace=False)
            names = [f"id{n}" for n in chosen]
            state = dict(self.journal.states[self.journal.started])
            for name in names:
                state.pop(name, None)
            if generator.random() < 0.2:
                self.journal.write(state, lambda names=names: self.collection.delete(names))
            else:
                vectors = unit(generator, len(names))
                state.update(zip(names, vectors, strict=True))
                self.journal.write(state, lambda n=names, v=vectors: self.collection.upsert(n, v))
            self.report.writes += 1
            self.journal.forget(min([self.journal.done, *list(self._reading.values())]))

    def seal(self, _number: int) -> None:
        generator = np.random.default_rng([self.seed, 1])
        while self.going():
            if generator.random() < 0.8:
                self.collection.seal()
            else:
                self.collection.compact()
            self.report.seals += 1
            time.sleep(0.02)

    def search(self, number: int) -> None:
        generator = np.random.default_rng([self.seed, number])
        while self.going():
            queries = unit(generator, int(generator.choice([1, 6])))
            k = int(generator.choice([5, 50]))
            self._reading[number] = self.journal.done
            oldest = self.journal.done  # again: the writer may have gone on before it saw the line above
            found = self.collection.search(queries, k, effort=self.effort)
            newest = self.journal.started
            states = [self.journal.states[n] for n in range(oldest, newest + 1) if n in self.journal.states]
            if not any(self._gives(state, queries, k, found) for state in states):
                self.report.mismatches.append(f"states {oldest} to {newest}, k {k}, {len(queries)} queries")
            self.report.searches += 1

    def _gives(self, state: State, queries_QD: NDArray[np.float32], k: int, found: list) -> bool:
        names = list(state)
        vectors = np.array(list(state.values()), np.float32).reshape(-1, WIDTH)
        counted = 0
        for query, hits in zip(queries_QD, found, strict=True):
            scores = (vectors.astype(np.float64) @ query).astype(np.float32)
            order = np.lexsort((np.arange(len(names)), -scores))[:k]
            if self.exact:
                right = hits.ids == [names[n] for n in order]
            else:
                row = {name: n for n, name in enumerate(names)}
                right = all(id in row for id in hits.ids) and len(hits.ids) == len(order)
                if right:
                    order = np.array([row[id] for id in hits.ids], np.int64)
                    right = list(order) == sorted(order, key=lambda n: (-scores[n], n))
            if not right or hits.scores.tobytes() != scores[order].tobytes():
                return False
            counted += len({*hits.ids} & {names[n] for n in np.lexsort((-scores,))[:k]})
        self.report.found += counted
        self.report.missed += sum(len(hits.ids) for hits in found) - counted
        return True

    def run(self, searchers: int) -> Report:
        jobs = [(self.write, 0), (self.seal, 0), *((self.search, 10 + n) for n in range(searchers))]
        threads = [threading.Thread(target=self._guarded, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.report

    def _guarded(self, job: Callable[[int], None], number: int) -> None:
        try:
            job(number)
        except BaseException as error:
            self.report.errors.append(error)


def run(
    folder: Path,
    seconds: float,
    factory: str = "IVF4,Flat",
    exact: bool = True,
    effort: Effort = EXHAUSTIVE,
    searchers: int = 2,
    seed: int = 0,
) -> Report:
    """What `seconds` of adding, deleting, searching, sealing and compacting at once came to.

    With `exact` every search must give exactly the brute-force answer: right for "Flat", and for IVF-Flat
    with the effort of all lists. Run it within `small_segments`.
    """
    with Collection.create(
        folder / f"contest-{seed}", dim=WIDTH, fingerprint="f", index=factory
    ) as collection:
        return Contest(collection, exact, effort, seconds, seed).run(searchers)


class LateBuffer(Buffer):
    """A null control: rows are published before they are written."""

    def append(self, row_ids_N: np.ndarray, vectors_ND: np.ndarray) -> None:
        super().append(row_ids_N, np.full_like(vectors_ND, 0.01))
        rows = slice(self.used - len(row_ids_N), self.used)
        threading.Timer(0.05, lambda: self._vectors.__setitem__(rows, vectors_ND)).start()
