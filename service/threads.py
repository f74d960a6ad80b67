"""Bounded pools of threads, where everything runs that would hold up the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .errors import NotReady

Result = TypeVar("Result")
STOPPING = "the server is stopping"


class Threads:
    """`count` threads; what is called while all are busy waits its turn."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, f"polylens-{name}")
        self._closed = False

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """`work(*arguments)`. A caller that is cancelled leaves; work already begun runs to its end."""
        if self._closed:
            raise NotReady(STOPPING)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _guarded, work, *arguments)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise NotReady(STOPPING) from None  # it was `close` that dropped the work
            raise

    async def close(self) -> None:
        """Returns when the work that has begun is done; what was waiting is refused."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


class Device(Threads):
    """The one thread for the forward passes of a device, and the turn that batchers take on it."""

    def __init__(self) -> None:
        super().__init__(1, "device")
        self.turn = asyncio.Lock()
        self.last_interactive = float("-inf")  # when an interactive entry arrived, on the loop's clock

    async def batch(
        self, run: Callable[[list[Any]], Sequence[Result]], entries: list[Any]
    ) -> Sequence[Result]:
        """`run(entries)`, which must have as many results as there are entries."""
        results = await self.run(run, entries)
        if len(results) != len(entries):
            raise RuntimeError(f"the model gave {len(results)} results for {len(entries)} entries")
        return results


def _guarded(work: Callable[..., Result], *arguments: object) -> Result:
    """`work(*arguments)`; what would end the event loop (SystemExit, KeyboardInterrupt) becomes an error."""
    try:
        return work(*arguments)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"a worker thread raised {type(error).__name__}") from error
