"""The engine joins a model and its collections. It knows no transport: gRPC and HTTP call the same methods.

Whatever takes time runs in bounded threads, so the event loop stays free.
"""

import asyncio
from collections.abc import Sequence
from typing import Self

from ..errors import PolylensError
from ..index.collection import Collection
from ..index.filters import from_json
from ..index.store import Store
from . import shelf
from .checks import blame, check_count, check_id, check_image, check_text, unit_vector
from .embedder import Embedder
from .errors import InvalidField
from .records import (
    CollectionInfo,
    Embedded,
    Embedding,
    Encoder,
    IdQuery,
    ImageQuery,
    Metadata,
    ModelInfo,
    Point,
    Query,
    SearchResult,
    StoredPoint,
    TextQuery,
    Upserted,
    Vector,
    VectorQuery,
)
from .settings import Limits, Settings
from .stopwatch import Stopwatch
from .threads import Threads


class Engine:
    """Embeds, searches and looks after collections; `async with` it, which closes the store as well."""

    def __init__(
        self, encoder: Encoder, store: Store, settings: Settings | None = None, limits: Limits | None = None
    ) -> None:
        self.encoder, self.settings, self.limits = encoder, settings or Settings(), limits or Limits()
        self._embedder = Embedder(encoder, self.settings, self.limits)
        self._store, self._shelf = store, shelf.Shelf(store, encoder.dim, encoder.fingerprint)
        self._disk = Threads(self.settings.workers, "disk")

    async def __aenter__(self) -> Self:
        await self._disk.run(self._store.open_all)
        self._embedder.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._embedder.close()
        await self._disk.close()
        await asyncio.to_thread(self._store.close)

    def model(self) -> ModelInfo:
        """The model that embeds."""
        one = self.encoder
        return ModelInfo(one.name, one.fingerprint, one.dim, one.max_text_tokens, float(one.logit_scale))

    async def canary(self) -> None:
        """Returns when a text and an image have become vectors, by way of the queues that requests take."""
        await self._embedder.canary()

    async def embed_texts(self, texts: Sequence[str]) -> Embedded:
        """An embedding or an error for each text, in order."""
        check_count(len(texts), "texts", self.limits)
        return await self._embedder.texts(texts, Stopwatch())

    async def embed_images(self, images: Sequence[bytes]) -> Embedded:
        """An embedding or an error for each encoded picture, in order."""
        check_count(len(images), "images", self.limits)
        return await self._embedder.images(images, Stopwatch())

    async def search(
        self, collection: str, query: Query, k: int = 10, condition: Metadata | None = None
    ) -> SearchResult:
        """The `k` nearest points that meet the condition. `collection` may be empty if there is only one."""
        watch = Stopwatch()
        if not 1 <= k <= self.limits.max_k:
            raise InvalidField("k", f"{k} is not from 1 to {self.limits.max_k}")
        with blame("filter_json"):
            filter = from_json(condition) if condition else None
        target = await self._disk.run(self._shelf.open_or_only, collection)
        embedding = await self._embedding(target, query, watch)
        itself = query.id if isinstance(query, IdQuery) else None
        wanted = k if itself is None else k + 1
        with watch.store():
            hits = await self._disk.run(shelf.search, target, embedding.vector_D, wanted, filter)
        hits = [hit for hit in hits if hit.id != itself][:k]
        name, fingerprint = target.path.name, self.encoder.fingerprint
        return SearchResult(hits, name, fingerprint, embedding.truncated, watch.read())

    async def _embedding(self, target: Collection, query: Query, watch: Stopwatch) -> Embedding:
        match query:
            case TextQuery(text):
                with blame("query.text"):
                    check_text(text, self.limits)
                    return _sole(await self._embedder.texts([text], watch))
            case ImageQuery(image):
                with blame("query.image"):
                    check_image(image, self.limits)
                    return _sole(await self._embedder.images([image], watch))
            case IdQuery(id):
                with watch.store():
                    return Embedding(await self._disk.run(shelf.vector_of, target, id))
            case VectorQuery(vector_D):
                with blame("query.vector"):
                    return Embedding(unit_vector(vector_D, self.encoder.dim))

    async def upsert(self, collection: str, points: Sequence[Point | PolylensError]) -> Upserted:
        """Stores the points, embedding their pictures; an error in place of a point is handed through."""
        watch = Stopwatch()
        check_count(len(points), "points", self.limits)
        target = await self._disk.run(self._shelf.open, collection)
        sound: dict[int, Point] = {}
        images: dict[int, bytes] = {}
        vectors: dict[int, Vector] = {}
        errors: dict[int, Exception] = {}
        for position, point in enumerate(points):
            try:
                if not isinstance(point, Point):
                    raise point
                check_id(point.id, self.limits)
                if isinstance(point.content, bytes):
                    images[position] = point.content
                else:
                    vectors[position] = unit_vector(point.content, self.encoder.dim)
                sound[position] = point
            except PolylensError as error:
                errors[position] = error
        embedded = await self._embedder.images(list(images.values()), watch)
        for order, (position, embedding) in enumerate(zip(images, embedded.embeddings, strict=True)):
            if embedding is None:
                errors[position] = embedded.errors[order]
            else:
                vectors[position] = embedding.vector_D
        with watch.store():
            rows = [(position, sound[position], vectors[position]) for position in sorted(vectors)]
            errors |= await self._disk.run(shelf.write, target, rows)
        return Upserted(len(points) - len(errors), errors, watch.read())

    async def delete(self, collection: str, ids: Sequence[str]) -> int:
        """How many of the points existed and are gone now."""
        check_count(len(ids), "ids", self.limits)
        target = await self._disk.run(self._store.open, collection)
        return await self._disk.run(target.delete, ids)

    async def get(
        self, collection: str, ids: Sequence[str], vectors: bool = False
    ) -> list[StoredPoint | None]:
        """The point of each id, in order, or None."""
        check_count(len(ids), "ids", self.limits)
        target = await self._disk.run(self._store.open, collection)
        return await self._disk.run(shelf.get, target, ids, vectors)

    async def create_collection(self, name: str, exist_ok: bool = False) -> CollectionInfo:
        """A new, empty collection for vectors of this model."""
        return await self._disk.run(self._shelf.create, name, exist_ok)

    async def collection(self, name: str) -> CollectionInfo:
        """One collection by name."""
        return await self._disk.run(self._shelf.info, name)

    async def collections(self) -> list[CollectionInfo]:
        """All collections by name."""
        return await self._disk.run(self._shelf.infos)

    async def drop_collection(self, name: str) -> None:
        """Deletes the collection and every point in it."""
        await self._disk.run(self._store.drop, name)


def _sole(embedded: Embedded) -> Embedding:
    """The embedding of a batch of one; raises its error."""
    (embedding,) = embedded.embeddings
    if embedding is None:
        raise embedded.errors[0]
    return embedding
