"""Random operations on a collection and on a dictionary, with reopening and crashes: they never disagree.

A life is one collection. Its process keeps the dictionary and forks a child for each stretch between two
crashes; the child does the operations on both, compares, and kills itself at the end.
"""

import os
import random
import signal
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from polylens.errors import InvalidInput
from polylens.index import Collection, Effort, Equal, segment
from polylens.index.errors import VersionConflict

from .forked import Forker, Say

DIM = 8
IDS = [f"id{n}" for n in range(150)]
VECTORS = np.random.default_rng(0).standard_normal((1_000, DIM))
VECTORS = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).astype(np.float32)
WIDE = VECTORS.astype(np.float64)
EXACT = Effort(exact=True)
GROUPS = 4
KINDS = {
    "upsert": 38, "delete": 10, "delete_where": 0.3, "get": 8, "search": 25, "count": 4, "scan": 4,
    "conflict": 2, "bad": 2, "seal": 1, "compact": 0.2, "reopen": 0.2,
}  # fmt: skip
CRASH = 0.001
Model = dict[str, tuple[int, int]]  # id -> row of VECTORS, group; in the order of writing


@dataclass(frozen=True)
class Operation:
    kind: str
    ids: list[str]
    rows: list[int]
    group: int  # of what is written, or asked for; -1 is no filter
    k: int


def draw(generator: random.Random) -> Operation:
    kind = generator.choices(list(KINDS), list(KINDS.values()))[0]
    count = generator.choice([1, 1, 1, 2, 3, 8])
    ids = generator.choices(IDS, k=count)
    rows = [generator.randrange(len(VECTORS)) for _ in ids]
    return Operation(kind, ids, rows, generator.randrange(-1, GROUPS), generator.choice([1, 3, 10, 200]))


def change(model: Model, operation: Operation) -> None:
    """Carries the operation out on the dictionary."""
    match operation.kind:
        case "upsert":
            for id, row in zip(operation.ids, operation.rows, strict=True):
                model.pop(id, None)
                model[id] = (row, operation.group)
        case "delete":
            for id in operation.ids:
                model.pop(id, None)
        case "delete_where":
            for id in [id for id, (_, group) in model.items() if group == operation.group]:
                del model[id]


class Pair:
    """A collection and the dictionary it must agree with."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder, self.model = folder, model
        self.collection = Collection.open(folder, background=False)
        self.check_all()

    def check_all(self) -> None:
        found = self.collection.scan(limit=10_000)
        assert [r.id for r in found] == list(self.model), "other items, or another order"
        for record in found:
            row, group = self.model[record.id]
            assert record.vector.tobytes() == VECTORS[row].tobytes() and record.metadata == {"group": group}
        assert self.collection.count() == len(self.model)

    def step(self, operation: Operation) -> None:
        """Carries the operation out on both and compares what can be seen."""
        before = dict(self.model)
        change(self.model, operation)
        answer = getattr(self, f"_{operation.kind}")(operation, before)
        assert answer is None, f"{operation}: {answer}"

    def _upsert(self, operation: Operation, before: Model) -> object:
        metadata = [{"group": operation.group}] * len(operation.ids)
        stored = self.collection.upsert(operation.ids, VECTORS[operation.rows], metadata)
        return None if stored == len(set(operation.ids)) else stored

    def _delete(self, operation: Operation, before: Model) -> object:
        deleted = self.collection.delete(operation.ids)
        return None if deleted == len(before) - len(self.model) else deleted

    def _delete_where(self, operation: Operation, before: Model) -> object:
        deleted = self.collection.delete_where(Equal("group", operation.group))
        return None if deleted == len(before) - len(self.model) else deleted

    def _get(self, operation: Operation, before: Model) -> object:
        for id, record in zip(operation.ids, self.collection.get(operation.ids), strict=True):
            if (record is None) != (id not in before):
                return id, record
            if record is not None and record.vector.tobytes() != VECTORS[before[id][0]].tobytes():
                return id, "another vector"
        return None

    def _search(self, operation: Operation, before: Model) -> object:
        kept = {id: row for id, (row, group) in before.items() if operation.group in (-1, group)}
        condition = None if operation.group == -1 else Equal("group", operation.group)
        queries = VECTORS[operation.rows]
        exact = self.collection.search(queries, operation.k, condition, effort=EXACT)
        usual = self.collection.search(queries, operation.k, condition)
        names = list(kept)
        for row, hits, others in zip(operation.rows, exact, usual, strict=True):
            scores = (WIDE[list(kept.values())] @ WIDE[row]).astype(np.float32)
            order = np.lexsort((np.arange(len(kept)), -scores))[: operation.k]
            if hits.ids != [names[n] for n in order] or not np.allclose(hits.scores, scores[order], 0, 1e-6):
                return hits.ids, [names[n] for n in order]
            known = dict(zip(names, scores, strict=True))
            if not all(
                abs(known[id] - score) < 1e-6 for id, score in zip(others.ids, others.scores, strict=True)
            ):
                return others.ids, "not allowed, or another score"
            if len(others) != len(hits) or len(set(others.ids)) != len(others):
                return len(others), len(hits)
        return None

    def _count(self, operation: Operation, before: Model) -> object:
        count = self.collection.count(Equal("group", operation.group))
        expected = sum(group == operation.group for _, group in before.values())
        return None if (count, self.collection.count()) == (expected, len(before)) else count

    def _scan(self, operation: Operation, before: Model) -> object:
        seen, after = [], 0
        while page := self.collection.scan(limit=7 * operation.k, after=after, vectors=False):
            seen += [record.id for record in page]
            after = page[-1].version
        return None if seen == list(before) else seen

    def _conflict(self, operation: Operation, before: Model) -> object:
        ids = list(dict.fromkeys(operation.ids))
        versions = [0 if id in before else 1 for id in ids]
        try:
            return self.collection.upsert(ids, VECTORS[operation.rows[: len(ids)]], if_version=versions)
        except VersionConflict:
            return None

    def _bad(self, operation: Operation, before: Model) -> object:
        vectors = VECTORS[operation.rows].copy()
        vectors[-1, operation.k % DIM] = [np.nan, np.inf, 3e38, 5.0][operation.group]
        try:
            return self.collection.upsert(operation.ids, vectors)
        except InvalidInput:
            return None

    def _seal(self, operation: Operation, before: Model) -> None:
        self.collection.seal()

    def _compact(self, operation: Operation, before: Model) -> None:
        self.collection.compact()
        self.check_all()

    def _reopen(self, operation: Operation, before: Model) -> None:
        self.collection.close()
        self.collection = Collection.open(self.folder, background=False)
        self.check_all()


def life(say: Say, folder: str, seed: int, operations: int, careless: bool = False) -> None:
    """The job of a process: says how many operations and crashes went by, or what disagreed."""
    generator = random.Random(seed)
    index = generator.choice(["auto", "HNSW8", "IVF2,Flat", "SQ8"])
    if generator.random() < 0.5:  # small segments, compacted often
        segment.SEGMENT_BYTES, segment.MIN_ROWS, segment.WASTE_ROWS = 0, 16, 4
    if careless:
        Collection.delete = _forgetful_delete
    path = Path(folder)
    Collection.create(path, dim=DIM, fingerprint="f", index=index).close()
    model: Model = {}
    done = crashes = 0
    while done < operations:
        length = min(operations - done, 1 + int(generator.expovariate(CRASH)))
        child = os.fork()
        if child == 0:
            _stretch(path, model, generator, length, f"seed {seed}, index {index}, operation {done}")
        for _ in range(length):
            change(model, draw(generator))
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
            say("disagreed", seed, done)
            return
        done, crashes = done + length, crashes + 1
    say("agreed", done, crashes)


def _stretch(path: Path, model: Model, generator: random.Random, length: int, what: str) -> None:
    """Does the operations of one stretch and crashes; ends quietly, with an exit code, if they disagree."""
    steps = 0
    try:
        pair = Pair(path, model)
        while steps < length:
            pair.step(draw(generator))
            steps += 1
        os.kill(os.getpid(), signal.SIGKILL)
    except BaseException:
        print(f"{what} + {steps}", file=sys.stderr)
        traceback.print_exc()
    os._exit(1)


def _forgetful_delete(collection: Collection, ids: list[str]) -> int:
    """A null control: the delete is visible, but it is not stored."""
    memory = collection._memory
    with collection._database.reader() as connection:
        places = ",".join("?" * len(set(ids)))
        sql = f"SELECT row_id FROM row WHERE deleted = 0 AND id IN ({places}) ORDER BY row_id"
        rows = connection.execute(sql, tuple(set(ids))).fetchall()
    memory.apply([], np.array([row for (row,) in rows], np.int64))
    return len(rows)


@dataclass
class Lived:
    operations: int = 0
    crashes: int = 0
    lives: int = 0
    disagreed: list[str] = field(default_factory=list)


def lives(operations: int, scratch: Path, seed: int, length: int = 20_000, careless: bool = False) -> Lived:
    """What came of so many operations, in lives of at most `length`; ends with the life that disagrees."""
    outcome = Lived()
    with Forker("operations") as forker:
        while outcome.operations < operations and not outcome.disagreed:
            folder, its_seed = scratch / f"life{outcome.lives}", seed * 1_000_003 + outcome.lives
            count = min(length, operations - outcome.operations)
            job = {"folder": str(folder), "seed": its_seed, "operations": count, "careless": careless}
            said = list(forker.run("operations:life", **job))
            outcome.lives += 1
            if said[0][0] == "agreed":
                outcome.operations += int(said[0][1])
                outcome.crashes += int(said[0][2])
            else:
                outcome.disagreed.append(f"seed {its_seed}: {said}")
    return outcome
