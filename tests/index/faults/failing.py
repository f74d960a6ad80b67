"""A full disk and failing syncs, at every call of every operation of a script, in one process.

Full: the operation is refused with `StorageFull`, all else goes on, and once there is room the same operation
succeeds on the same open collection. A failed sync: refused with `StorageFailed`, then every write is refused
until the collection is opened again; the sync is never repeated.
"""

import contextlib
from pathlib import Path

from polylens.index.errors import CollectionError, CollectionNotFound, StorageFailed, StorageFull
from polylens.index.files import Files

from .faulty import FailSync, FaultyFiles, FullFrom
from .script import Session, expected, held, kind
from .sweep import Swept, sweep

WRITES = ("upsert", "delete")


def full_disk(operations: range, scratch: Path, stride: int = 1, seed: int = 0) -> Swept:
    """A disk full from the n-th call on that needs room, for every n; AssertionError at a fault of ours."""
    return sweep(operations, _full, scratch, stride, seed)


def _full(folder: Path, number: int, call: int) -> bool:
    what, hub = f"operation {number}, full from {call} on", FullFrom(0)
    with FaultyFiles(hub) as files:
        session = _session(folder, files, number)
        hub.at, hub.needs = call, 0
        refused = _refused(session, number, StorageFull)
        refused = refused and _refused(session, number, StorageFull)
        reached = hub.full
        assert reached or not refused, f"{what}: refused without need"
        if kind(number) not in ("create", "reopen"):
            _agree(session, (number + (not refused),), what)
        hub.full, hub.at = False, 0
        if refused:
            session.carry_out(number)
        _agree(session, (number + 1,), f"{what}, room again")
        session.close()
    _reopened(folder, (number + 1,), what)
    return reached


def failing_syncs(operations: range, scratch: Path, stride: int = 1, seed: int = 0) -> Swept:
    """The n-th sync fails, for every n; AssertionError at a fault of ours."""
    return sweep(operations, _failed_sync, scratch, stride, seed)


def _failed_sync(folder: Path, number: int, call: int) -> bool:
    what, hub = f"operation {number}, sync {call} fails", FailSync(0)
    with FaultyFiles(hub) as files:
        session = _session(folder, files, number)
        hub.at, hub.syncs = call, 0
        error = _refused(session, number, StorageFailed)
        if error and kind(number) in WRITES:
            _agree(session, (number,), what)
            for _ in range(2):
                assert _refused(session, number, StorageFailed), f"{what}: a write after it"
        with contextlib.suppress(StorageFailed):
            session.close()
    _reopened(folder, (number, number + 1) if error else (number + 1,), what)
    return hub.syncs >= call


def _session(folder: Path, files: Files, number: int) -> Session:
    """A session that has carried out all operations before `number`."""
    session = Session(folder, files)
    if number:
        session.open()
    return session


def _refused(session: Session, number: int, kind: type[CollectionError]) -> CollectionError | None:
    """The error of this kind with which the operation was refused, if it was."""
    try:
        session.carry_out(number)
    except kind as error:
        return error
    return None


def _agree(session: Session, numbers: tuple[int, ...], what: str) -> None:
    assert held(session.collection) in [expected(number) for number in numbers], f"{what}: another state"


def _reopened(folder: Path, numbers: tuple[int, ...], what: str) -> None:
    session = Session(folder, Files())
    try:
        session.open()
    except CollectionNotFound:
        assert 0 in numbers, f"{what}: there is no collection any more"
        return
    _agree(session, numbers, f"{what}, opened again")
    session.close()
