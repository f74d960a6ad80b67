"""Runs a server until it is told to stop, or looks whether it could run."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

from ..clip.encoder import Encoder as Loaded
from ..clip.load import load
from ..clip.precision import made_faster
from ..clip.reader import reader_of
from ..errors import PolylensError
from ..index.errors import CollectionBusy
from ..index.interface import AnyCollection, AnyStore
from ..index.opening import open_store
from .capabilities import Capabilities
from .engine import Engine
from .records import Encoder
from .replicas import deployed
from .server import Server, serving
from .settings import Settings

logger = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)
Able = Callable[[Settings, Sequence[Encoder]], Capabilities]


def plain(settings: Settings, encoders: Sequence[Encoder]) -> Capabilities:
    """What encoders of this package can do by themselves: InternVL-G reads images and texts together."""
    readers = [reader_of(encoder) for encoder in encoders if isinstance(encoder, Loaded)]
    return Capabilities([one for one in readers if one is not None])


def run(settings: Settings, announce: Callable[[Server, Engine], None], able: Able = plain) -> None:
    """Serves until SIGTERM or SIGINT, then drains; `announce` is called once requests are answered.

    `able` says what the encoders, once they are loaded, make the server capable of; see capabilities.py.
    """
    asyncio.run(_run(settings, announce, able))


def check(settings: Settings, tell: Callable[[str, str], None], able: Able = plain) -> bool:
    """Whether a server with these settings would start; `tell` gets each part and its problem, if any."""
    return asyncio.run(_check(settings, tell, able))


async def _run(settings: Settings, announce: Callable[[Server, Engine], None], able: Able) -> None:
    server = Server(settings)
    with contextlib.ExitStack() as at_end:
        try:
            store = await asyncio.to_thread(open_collections, settings.data)
            encoders = await asyncio.to_thread(lambda: at_end.enter_context(loaded(settings)))
            capabilities = await asyncio.to_thread(able, settings, encoders)
            engine = Engine(encoders[0], store, settings, replicas=encoders[1:], capabilities=capabilities)
        except BaseException:
            await server.stop(0)
            raise
        async with serving(engine, server):
            _settle()
            announce(server, engine)
            await _told_to_stop()


def _settle() -> None:
    """Takes what a server keeps for good out of the garbage collector's rounds, and has it make them oftener.

    A full round would look at a quarter of a million objects of libraries while the event loop waits, and
    CPython puts it off the longer the more there are. What calls leave in cycles, say a picture in a
    traceback, stays as long, and memory grows by tens of megabytes.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # tells it how little there is left to look at
    gc.set_threshold(700, 10, 2)


async def _check(settings: Settings, tell: Callable[[str, str], None], able: Able) -> bool:
    async def listen() -> None:
        await Server(settings).stop(0)

    async def look_at_collections() -> None:
        store = await asyncio.to_thread(open_collections, settings.data)
        try:
            problems = [f"{entry.name}: {entry.error}" for entry in store.list() if entry.error is not None]
        finally:
            await asyncio.to_thread(store.close)
        if problems:
            raise PolylensError("; ".join(problems))

    async def load_model() -> None:
        def once() -> None:
            with loaded(settings) as encoders:
                able(settings, encoders)

        await asyncio.to_thread(once)

    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "address, certificates, tokens": listen,
        f"collections in {settings.data}": look_at_collections,
        f"model {settings.model}": load_model,
    }
    good = True
    for name, part in parts.items():
        try:
            await part()
        except (PolylensError, OSError) as error:
            good = False
            tell(name, str(error))
        else:
            tell(name, "")
    return good


@contextlib.contextmanager
def loaded(settings: Settings) -> Iterator[Sequence[Encoder]]:
    """The model on each device of this machine, or on replicas by Ray."""
    if settings.engine == "local":
        yield load_all(settings)
        return
    with deployed(settings) as encoders:
        yield encoders


def load_all(settings: Settings) -> list[Encoder]:
    """The model on each of the devices, which are named with commas between them."""
    model = partial(
        load, settings.model, head=settings.head, dtype=settings.dtype, preprocess=settings.preprocess
    )
    loaded = [model(device=device.strip()) for device in settings.device.split(",")]
    return [made_faster(one, quantize=settings.quantize, compile=settings.compile) for one in loaded]


def open_collections(place: str) -> AnyStore[AnyCollection]:
    """The store, every collection open but the damaged; `CollectionBusy` if another server has one."""
    store = open_store(place)
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
