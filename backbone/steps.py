"""The order of a run's steps: which rows each one takes, and their batches made ahead."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Made = TypeVar("Made")
AHEAD = 2  # batches prepared while the model works


def rows_of_step(step: int, size: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """The `size` rows of a step out of `count`: epochs are permutations, laid end to end."""
    places = np.arange(step * size, (step + 1) * size)
    rows = np.empty(size, dtype=np.int64)
    for epoch in np.unique(places // count):
        inside = places // count == epoch
        order = np.random.default_rng((seed, 1, epoch)).permutation(count)
        rows[inside] = order[places[inside] % count]
    return rows


def prefetch(make: Callable[[int], Made], start: int, stop: int) -> Iterator[Made]:
    """What `make` gives for the steps `start` to `stop`, made in one thread a little ahead of its use."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        pending: list[Future[Made]] = [pool.submit(make, s) for s in range(start, min(start + AHEAD, stop))]
        for step in range(start, stop):
            batch = pending.pop(0).result()
            if step + AHEAD < stop:
                pending.append(pool.submit(make, step + AHEAD))
            yield batch
