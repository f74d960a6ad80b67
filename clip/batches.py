"""Free helpers around batches: work done ahead in threads, groups of a size, a progress bar, collation.

Letters of the shapes: B batch, C colours, H and W pixels, L token positions.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from ..errors import InvalidInput

Pixels = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, most: int
) -> Generator[Result]:
    """function(item) of every item, in order, computed by `workers` threads while the caller is busy.

    At most `most` results exist or are being made at a time, whatever the caller's pace.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) == most:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # also when the caller stops early
        pool.shutdown(cancel_futures=True)


def buffered(items: Iterable[Item], most: int) -> Generator[Item]:
    """The same items, taken by a thread of its own, at most `most` of them before they are wanted."""
    ready: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(most)
    stopped = threading.Event()

    def hand_over(what: tuple[Item] | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(what, timeout=0.1)
                return

    def run() -> None:
        try:
            for item in items:
                hand_over((item,))
                if stopped.is_set():
                    return
            hand_over(None)
        except BaseException as error:  # it belongs to whoever wants the items
            hand_over(error)
        finally:
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=run, name="buffered", daemon=True)
    thread.start()
    try:
        while (got := ready.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got[0]
    finally:  # also when the caller stops early
        stopped.set()
        thread.join()


def grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, in order; the last one may be shorter, none is empty."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def tracked(items: Iterable[Item], total: int | None, title: str, *, show: bool) -> Iterable[Item]:
    """The same items, with a progress bar on stderr if `show`."""
    return track(items, title, total=total, console=Console(stderr=True)) if show else items


def stacked(pixels: Sequence[Pixels], out: Pixels | None = None) -> Pixels:
    """pixels_BCHW, in `out` where that is given."""
    if len(shapes := {image_CHW.shape for image_CHW in pixels}) > 1:
        raise InvalidInput(f"expected images of one shape, got {sorted(shapes)}")
    return np.stack(pixels, out=out)


def padded(ids: Sequence[Ids]) -> Ids:
    """ids_BL, padded with 0 on the right to the longest."""
    ids_BL = np.zeros((len(ids), max(map(len, ids))), np.int64)
    for row_L, ids_L in zip(ids_BL, ids, strict=True):
        row_L[: len(ids_L)] = ids_L
    return ids_BL
