"""Started by test_kill.py: for every line "folder mode start0 start1" forks a child that writes until killed.

A thread of the child does its operations start, start+1, ... and writes "ack <thread> <number>" when one is
done; in the mode "hasty", the null control, before it is done. Forking spares importing everything for every
kill.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
from polylens.index import Collection

DIM = 4
State = dict[str, tuple[bytes, int]]


def operation(thread: int, number: int) -> tuple[list[str], np.ndarray | None]:
    """The ids and vectors to upsert in this operation, or ids to delete and None."""
    ids = [f"{thread}-{(number * 5 + n) % 17}" for n in range(1 + number % 3)]
    if number % 6 == 5:
        return ids, None
    vectors = np.random.default_rng([thread, number]).standard_normal((len(ids), DIM))
    return ids, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def states(thread: int) -> Iterator[State]:
    """The thread's items after 0, 1, 2, ... operations."""
    state: State = {}
    number = 0
    while True:
        yield dict(state)
        ids, vectors = operation(thread, number)
        for n, id in enumerate(ids):
            state.pop(id, None)
            if vectors is not None:
                state[id] = (vectors[n].tobytes(), number)
        number += 1


def work(collection: Collection, thread: int, number: int, hasty: bool) -> None:
    while True:
        ack = f"ack {thread} {number}\n".encode()
        if hasty:
            os.write(1, ack)
            time.sleep(0.003)
        ids, vectors = operation(thread, number)
        if vectors is None:
            collection.delete(ids)
        else:
            collection.upsert(ids, vectors, [{"number": number}] * len(ids))
        if not hasty:
            os.write(1, ack)
        number += 1


def child(folder: str, mode: str, starts: list[int]) -> None:
    collection = Collection.open(folder)
    threads = [
        threading.Thread(target=work, args=(collection, thread, start, mode == "hasty"))
        for thread, start in enumerate(starts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    for line in sys.stdin:
        folder, mode, *starts = line.split()
        process = os.fork()
        if process == 0:
            try:
                child(folder, mode, [int(start) for start in starts])
            finally:
                os._exit(1)
        os.write(1, f"child {process}\n".encode())
        os.waitpid(process, 0)
        os.write(1, b"end 0\n")


if __name__ == "__main__":
    main()
