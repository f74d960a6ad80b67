"""The background thread that seals and merges segments when that is due, and ends when nothing is."""

import contextlib
import os
import threading
import time
from collections.abc import Callable

from ..errors import PolylensError
from . import policy
from .errors import CollectionClosed
from .faiss_index import faiss
from .memory import Memory, View
from .policy import Policy
from .sealing import Sealing

RETRY_SECONDS = 60  # after a failure
NICENESS = 10  # of the thread: searches come first


class _Stopped(Exception):
    """The collection is being closed."""


class Sealer:
    """Watches one collection. `nudge` is called after every write and costs next to nothing."""

    def __init__(self, sealing: Sealing, memory: Memory, wanted: Callable[[], Policy]) -> None:
        self._sealing, self._memory, self._wanted = sealing, memory, wanted
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._not_before = 0.0
        self.problem = ""  # why the last attempt failed; empty after a success

    def nudge(self) -> None:
        """Starts the thread if there is work for it and it is not running."""
        if self._thread is not None or self._stopping or not policy.due(self._wanted(), self._memory.view):
            return
        with self._guard:
            if self._thread is None and not self._stopping and time.monotonic() >= self._not_before:
                self._thread = threading.Thread(target=self._work, name="polylens-sealer", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # a thread's own, on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        faiss.omp_set_num_threads(max(1, (os.cpu_count() or 1) // 2))  # this thread's own
        try:
            while self._sealing.run(self._due, self._wanted(), self._progress):
                self.problem = ""
        except (_Stopped, CollectionClosed):
            pass
        except (PolylensError, RuntimeError, MemoryError) as error:  # RuntimeError: FAISS
            self.problem = f"sealing failed, exact search goes on: {error!r}"
            self._not_before = time.monotonic() + RETRY_SECONDS
        finally:
            with self._guard:
                self._thread = None

    def _due(self, view: View) -> range | None:
        return policy.due(self._wanted(), view)

    def _progress(self, _what: str, _done: int, _of: int) -> None:
        if self._stopping:
            raise _Stopped

    def stop(self) -> None:
        """Gives up what is being built, and returns when the thread has ended."""
        with self._guard:
            self._stopping, thread = True, self._thread
        if thread is not None:
            thread.join()
