"""Damaged files of segments: every one is refused, and the collection answers as if nothing had happened."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import numpy as np
from polylens.errors import PolylensError
from polylens.index import Collection, loading, manifest, sealed
from polylens.index.files import Files
from polylens.index.schema import Identity

from .forked import Forker, Say
from .script import State, held

DIM = 8
IDENTITY = Identity(DIM, "f")
INDEXES = ("HNSW8", "SQfp16", "IVF4,Flat", "IVF4,SQ8")


@dataclass
class Mutated:
    files: int = 0
    accepted: list[str] = field(default_factory=list)
    openings: int = 0  # of whole collections with a damaged segment
    wrong: list[str] = field(default_factory=list)  # openings that showed other items or did not tell


def build(folder: Path, index: str, seed: int) -> State:
    """The items of a new, closed collection of two sealed segments."""
    generator = np.random.default_rng(seed)
    with Collection.create(folder, dim=DIM, fingerprint="f", index=index) as collection:
        for part in range(2):
            vectors = generator.standard_normal((400 - 150 * part, DIM)).astype(np.float32)
            ids = [f"{part}-{n}" for n in range(len(vectors))]
            collection.upsert(ids, vectors, [{"number": part}] * len(ids), normalize=True)
            if part == 0:
                collection.seal()
        # The second one is too large a neighbour to be merged with the first.
        collection.sealing.run(lambda view: range(1, 2), collection._policy)
        return held(collection)


def entries(folder: Path) -> list[manifest.Entry]:
    connection = apsw.Connection(str(folder / "collection.db"))
    try:
        return manifest.entries(connection)
    finally:
        connection.close()


def mutations(contents: list[bytes], generator: random.Random) -> Iterator[tuple[int, str, bytes]]:
    """Without end: which file, how it was damaged, and its content now, never what it was."""
    while True:
        which = generator.randrange(len(contents))
        intact = contents[which]
        kind = generator.choice(
            ["flip", "flip", "garbage", "zeros", "cut", "longer", "swap", "moved", "header"]
        )
        place, size = generator.randrange(len(intact)), generator.choice([1, 4, 64, 512, 4_096])
        end = min(place + size, len(intact))
        data = bytearray(intact)
        match kind:
            case "flip":
                data[place] ^= 1 << generator.randrange(8)
            case "garbage":
                data[place:end] = generator.randbytes(end - place)
            case "zeros":
                data[place:end] = bytes(end - place)
            case "cut":
                del data[generator.choice([place, place // 4_096 * 4_096]) :]
            case "longer":
                data += generator.choice([b"\0", generator.randbytes(size), intact[:size]])
            case "swap":
                data = bytearray(generator.choice(contents))
            case "moved":
                other = generator.randrange(len(intact))
                data[place:end] = intact[other : other + end - place].ljust(end - place, b"\0")
            case "header":
                data[generator.randrange(min(128, len(data)))] = generator.randrange(256)
        if data != intact:
            yield which, kind, bytes(data)


def mutate(count: int, scratch: Path, seed: int, open_every: int = 250) -> Mutated:
    """What came of so many damaged files, each read as opening a collection reads it."""
    outcome, generator = Mutated(), random.Random(seed)
    for number, index in enumerate(INDEXES):
        folder = scratch / f"c{number}"
        state = build(folder, index, seed)
        share = count // len(INDEXES) + (number < count % len(INDEXES))
        _mutate_one(folder, index, state, share, generator, outcome, open_every)
    return outcome


def _mutate_one(
    folder: Path,
    index: str,
    state: State,
    count: int,
    generator: random.Random,
    outcome: Mutated,
    open_every: int,
    refusal: type[Exception] = PolylensError,
) -> None:
    """Damages the files of one collection `count` times; what opening raises must be a refusal."""
    database = (folder / "collection.db").read_bytes()
    files = [
        (entry, path(folder, entry.segment_id))
        for entry in entries(folder)
        for path in (sealed.rows_path, sealed.index_path)
    ]
    contents = [path.read_bytes() for _, path in files]
    damaged = mutations(contents, generator)
    for _ in range(count):
        which, kind, data = next(damaged)
        entry, path = files[which]
        path.write_bytes(data)
        outcome.files += 1
        try:
            loading.open_segment(folder, Files(), IDENTITY, entry)
            outcome.accepted.append(f"{index} {path.name}: {kind}")
        except refusal:
            pass
        if outcome.files % open_every == 0:
            outcome.openings += 1
            with Collection.open(folder, background=False) as collection:
                if held(collection) != state or len(collection.info().degraded) != 1:
                    outcome.wrong.append(f"{index} {path.name}: {kind}: {collection.info().degraded}")
            for (_, each), content in zip(files, contents, strict=True):
                each.write_bytes(content)
            (folder / "collection.db").write_bytes(database)
        path.write_bytes(contents[which])


def read_unverified(say: Say, folder: str, index: str, count: int, seed: int) -> None:
    """The job of a child, a null control: the same files with the check of size and checksum taken out."""
    outcome = Mutated()
    state = build(Path(folder), index, seed)
    sealed.verify = lambda *_: None
    _mutate_one(Path(folder), index, state, count, random.Random(seed), outcome, 10**9, Exception)
    say("accepted", len(outcome.accepted))


def control(count: int, scratch: Path, seed: int) -> int:
    """How many damaged files are accepted, or crash the process, when nobody verifies them."""
    accepted = 0
    with Forker("mutations") as forker:
        for number, index in enumerate(INDEXES):
            job = {
                "folder": str(scratch / f"control{number}"),
                "index": index,
                "count": count // len(INDEXES),
            }
            for word, value in forker.run("mutations:read_unverified", seed=seed, **job):
                accepted += int(value) if word == "accepted" else value != "0"
    return accepted
