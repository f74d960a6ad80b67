"""Random unit vectors and the naive twin of the search. Q queries, N rows, D width."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from polylens.index import Collection

Floats = NDArray[np.float32]
BruteForce = Callable[[Floats, Floats, int], tuple[list[list[int]], list[Floats]]]


@pytest.fixture
def unit() -> Callable[..., Floats]:
    """A function: (rows, width, seed) -> float32 unit rows."""

    def make(rows: int, width: int = 8, seed: int = 0) -> Floats:
        vectors = np.random.default_rng(seed).standard_normal((rows, width))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    return make


@pytest.fixture
def brute_force() -> BruteForce:
    """A function: (queries_QD, vectors_ND, k) -> per query the best rows by score, then row; their scores."""

    def find(queries_QD: Floats, vectors_ND: Floats, k: int) -> tuple[list[list[int]], list[Floats]]:
        rows, scores = [], []
        for query in queries_QD.astype(np.float64):
            all_scores = (vectors_ND.astype(np.float64) @ query).astype(np.float32)
            order = np.lexsort((np.arange(len(vectors_ND)), -all_scores))[:k]
            rows.append(order.tolist())
            scores.append(all_scores[order])
        return rows, scores

    return find


@pytest.fixture
def while_writing() -> Callable[[Collection, list[threading.Thread]], AbstractContextManager[None]]:
    """A context manager: these threads queue up behind a commit that seems to last until the block ends."""

    @contextmanager
    def hold(collection: Collection, jobs: list[threading.Thread]) -> Iterator[None]:
        writer = collection._writer
        writer._busy = True
        for n, job in enumerate(jobs):
            job.start()
            while len(writer._queue) <= n:
                time.sleep(0.001)
        yield
        with writer._turn:
            writer._busy = False
            writer._turn.notify_all()
        for job in jobs:
            job.join()

    return hold


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    """An empty collection of width 8, closed after the test."""
    with Collection.create(tmp_path / "birds", dim=8, fingerprint="model-a") as made:
        yield made
