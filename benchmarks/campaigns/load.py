"""Honest callers: what they ask, and what became of it."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import numpy as np
from polylens.service.client import AsyncClient

from .pictures import encoded, made

COLLECTION = "load"
POINTS = 500  # ids are written again and again, so a collection stays as large as it is
WORDS = (
    "red green old small bright sleeping wooden apple boat cat house lamp mountain train tree wave".split()
)
Ask = Callable[[], Awaitable[object]]


class Callers:
    """Calls of every kind to one server; each is a coroutine function without arguments."""

    def __init__(self, client: AsyncClient, dim: int, random: Random) -> None:
        self._client, self._random = client, random
        self._vectors = np.random.default_rng(random.randrange(2**32)).standard_normal((64, dim), np.float32)
        self._pictures = [encoded(made("RGB", (90, 60), seed), "JPEG") for seed in range(16)]
        self._numbers = itertools.count()

    def calls(self) -> list[Ask]:
        """One of each kind."""
        return [self.search, self.search_picture, self.embed, self.embed_pictures, self.write, self.read]

    def text(self) -> str:
        """Words that nobody asked before."""
        return f"{' '.join(self._random.choices(WORDS, k=3))} {next(self._numbers)}"

    async def search(self) -> Any:
        return await self._client.search(self.text(), collection=COLLECTION, k=10)

    async def search_picture(self) -> Any:
        return await self._client.search(image=self._picture(), collection=COLLECTION, k=10)

    async def embed(self) -> Any:
        return await self._client.embed_texts([self.text() for _ in range(8)])

    async def embed_pictures(self) -> Any:
        return await self._client.embed_images([self._picture() for _ in range(4)])

    async def write(self) -> Any:
        chosen = self._random.sample(range(POINTS), 8)
        rows = [self._vectors[number % len(self._vectors)] for number in chosen]
        metadata = [{"name": self.text(), "number": number} for number in chosen]
        ids = [f"point {number}" for number in chosen]
        return await self._client.upsert(ids, collection=COLLECTION, vectors=rows, metadata=metadata)

    async def read(self) -> Any:
        return await self._client.scan(collection=COLLECTION, limit=20, filter={"number": {"$lt": 90}})

    def _picture(self) -> bytes:
        return self._random.choice(self._pictures)


async def prepare(client: AsyncClient) -> int:
    """The dimensions of the server's model; the collection of the load is there afterwards."""
    await client.create_collection(COLLECTION, exist_ok=True)
    return (await client.info()).model.dim


async def paced(calls: Callable[[], Ask], rate: float, seconds: float, done: Callable[[Any], None]) -> None:
    """Starts `rate` calls a second, whether or not earlier ones are back; `done` gets results and errors."""
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    begun = loop.time()

    async def one(ask: Ask) -> None:
        try:
            done(await ask())
        except Exception as error:
            done(error)

    for number in range(round(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
        task = asyncio.create_task(one(calls()))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)
