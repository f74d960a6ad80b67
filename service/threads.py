"""Bounded pools of threads, where everything runs that would hold up the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Threads:
    """`count` threads; what is called while all are busy waits its turn."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, f"polylens-{name}")

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """`work(*arguments)`. A caller that is cancelled leaves; work already begun runs to its end."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _guarded, work, *arguments)

    async def close(self) -> None:
        """Returns when the work that has begun is done; what was waiting is dropped."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


class Device(Threads):
    """The one thread for the forward passes of a device, and the turn that batchers take on it."""

    def __init__(self) -> None:
        super().__init__(1, "device")
        self.turn = asyncio.Lock()


def _guarded(work: Callable[..., Result], *arguments: object) -> Result:
    """`work(*arguments)`; what would end the event loop (SystemExit, KeyboardInterrupt) becomes an error."""
    try:
        return work(*arguments)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"a worker thread raised {type(error).__name__}") from error
