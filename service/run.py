"""Runs a server until it is told to stop."""

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from ..clip.load import load
from ..index.errors import CollectionBusy
from ..index.store import Store
from .engine import Engine
from .server import Server, serving
from .settings import Settings

logger = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings, announce: Callable[[Server, Engine], None]) -> None:
    """Serves until SIGTERM or SIGINT, then drains; `announce` is called once requests are answered."""
    asyncio.run(_run(settings, announce))


async def _run(settings: Settings, announce: Callable[[Server, Engine], None]) -> None:
    server = Server(settings)
    try:
        store = await asyncio.to_thread(open_store, settings.data)
        encoder = await asyncio.to_thread(
            load, settings.model, head=settings.head, device=settings.device, dtype=settings.dtype
        )
        engine = Engine(encoder, store, settings)
    except BaseException:
        await server.stop(0)
        raise
    async with serving(engine, server):
        announce(server, engine)
        await _told_to_stop()


def open_store(folder: Path) -> Store:
    """The store, every collection open but the damaged; `CollectionBusy` if another server has one."""
    store = Store(folder)
    for entry in store.open_all():
        if isinstance(entry.error, CollectionBusy):
            store.close()
            raise entry.error
        if entry.error is not None:
            logger.error("collection %s cannot be opened: %s", entry.name, entry.error)
    return store


async def _told_to_stop() -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, told.set)
    await told.wait()
    for number in SIGNALS:
        loop.remove_signal_handler(number)  # a second signal ends the process at once: nothing stored is lost
