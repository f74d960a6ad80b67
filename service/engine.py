"""The engine joins a model and its collections. It knows no transport: gRPC and HTTP call the same methods.

Whatever takes time runs in bounded threads, so the event loop stays free.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Self

from ..errors import PolylensError
from ..index.filters import Filter, from_json
from ..index.interface import AnyCollection, AnyStore
from . import shelf
from .capabilities import NONE, Capabilities
from .checks import blame, check_count, check_id, check_k, check_manner, check_no_key, unit_vector
from .classify import Classifier
from .describing import Describer
from .embedder import Embedder
from .errors import InvalidField, NotOffered
from .labelling import Labelling
from .metrics import Metrics
from .originals import Originals
from .queries import Asked, Queries
from .records import (
    Answer,
    Answers,
    Captioned,
    Classified,
    CollectionInfo,
    Embedded,
    Encoder,
    Manner,
    Matched,
    Metadata,
    ModelInfo,
    Page,
    Point,
    Query,
    SearchResult,
    Segmented,
    ServerInfo,
    SnapshotFile,
    Sought,
    StoredPoint,
    Upserted,
    Vector,
    Wording,
)
from .reranking import Reranker
from .segmenting import Segmenting
from .settings import Limits, Settings
from .stopwatch import Stopwatch
from .threads import Threads

USUAL = Manner()
USUAL_WORDING = Wording()


class Engine:
    """Embeds, searches and looks after collections; `async with` it, which closes the store as well.

    `replicas` are the same model on other devices; `capabilities` is what else the server can do.
    """

    def __init__(
        self,
        encoder: Encoder,
        store: AnyStore[AnyCollection],
        settings: Settings | None = None,
        limits: Limits | None = None,
        replicas: Sequence[Encoder] = (),
        capabilities: Capabilities = NONE,
    ) -> None:
        self.encoder, self.settings, self.limits = encoder, settings or Settings(), limits or Limits()
        self.metrics = Metrics()
        self._embedder = Embedder([encoder, *replicas], self.settings, self.limits, self.metrics)
        self.metrics.add(
            "polylens_collection_points", "Points of a collection.", ["collection"], self._points
        )
        self._store, self._shelf = store, shelf.Shelf(store, encoder.dim, encoder.fingerprint)
        self._disk = Threads(self.settings.workers, "disk")
        self._queries = Queries(self._embedder, self._disk, encoder.dim, self.limits)
        self._classifier = Classifier(self._embedder, float(encoder.logit_scale), self.limits)
        self.capabilities, self.originals = capabilities, Originals(self.settings.pictures)
        self._describer = Describer(self._embedder, capabilities, self.settings, self.limits, self.metrics)
        self._segmenting = Segmenting(self._embedder, capabilities, self.settings, self.limits, self.metrics)
        self._labelling = Labelling(self._embedder, capabilities, self.settings, self.limits, self.metrics)
        self._reranker = Reranker(self._describer, self.originals, self._disk, self.limits)

    async def __aenter__(self) -> Self:
        await self._disk.run(self._store.open_all)
        self._segmenting.start()
        self._labelling.start()
        self._embedder.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await asyncio.to_thread(self._segmenting.close)
        await self._labelling.close()
        await self._embedder.close()
        await self._disk.close()
        await asyncio.to_thread(self._store.close)

    def _points(self) -> dict[tuple[str, ...], float]:
        found = ((entry.name, entry.collection) for entry in self._store.list())
        return {(name,): collection.count() for name, collection in found if collection is not None}

    def model(self) -> ModelInfo:
        """The model that embeds."""
        one = self.encoder
        return ModelInfo(one.name, one.fingerprint, one.dim, one.max_text_tokens, float(one.logit_scale))

    def info(self, version: str) -> ServerInfo:
        """What a server of that version with this engine is."""
        return ServerInfo(version, self.model(), self.limits, self.capabilities.names)

    async def warm_up(self) -> None:
        """Returns when every device has run its smallest and its largest batch."""
        if self.settings.warm_up:
            await self._embedder.warm_up()

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
        self,
        collection: str,
        query: Query,
        k: int = 10,
        condition: Metadata | None = None,
        manner: Manner = USUAL,
        watch: Stopwatch | None = None,
    ) -> SearchResult:
        """The `k` nearest points that meet the condition. `collection` may be empty if there is only one."""
        watch = watch or Stopwatch()
        check_k(k, 1, self.limits)
        check_manner(manner)
        filter = _filter(condition)
        target = await self._disk.run(self._shelf.open_or_only, collection)
        sought = await self._queries.find(target, query, watch)
        with watch.store():
            (hits,) = await self._disk.run(shelf.search, target, [sought], k, filter, manner)
        name, fingerprint = target.name, self.encoder.fingerprint
        return SearchResult(hits, name, fingerprint, sought.truncated, watch.read())

    async def rerank(
        self,
        collection: str,
        query: Query,
        k: int = 10,
        condition: Metadata | None = None,
        manner: Manner = USUAL,
        *,
        first: int = 50,
        text: str = "",
    ) -> SearchResult:
        """What `search` finds, the `first` hits in the order in which their pictures fit the text."""
        watch = Stopwatch()
        self.capabilities.require_reader()
        check_k(k, 1, self.limits)
        text = self._reranker.check(query, first, text)
        found = await self.search(collection, query, max(k, first), condition, manner, watch)
        return await self._reranker.rerank(found, k, first, text, watch)

    async def caption(self, images: Sequence[bytes], wording: Wording = USUAL_WORDING) -> Captioned:
        """A caption or an error for each image, in order; see describing.py."""
        return await self._describer.caption(images, wording)

    async def match(self, images: Sequence[bytes], texts: Sequence[str]) -> Matched:
        """How probable each text is for each image; see describing.py."""
        return await self._describer.match(images, texts)

    async def segment(self, images: Sequence[bytes]) -> Segmented:
        """The classes of each image's pixels, in order, or its error; see segmenting.py."""
        return await self._segmenting.segment(images)

    async def batch_search(
        self,
        collection: str,
        queries: Sequence[Asked],
        k: int = 10,
        condition: Metadata | None = None,
        manner: Manner = USUAL,
    ) -> Answers:
        """An answer or an error for each query, in order; an error in place of a query is handed through."""
        watch = Stopwatch()
        check_count(len(queries), "queries", self.limits)
        check_k(k, len(queries), self.limits)
        check_manner(manner)
        filter = _filter(condition)
        target = await self._disk.run(self._shelf.open_or_only, collection)
        found = await self._queries.find_all(target, queries, watch)
        errors = {i: one for i, one in enumerate(found) if isinstance(one, Exception)}
        sought = {i: one for i, one in enumerate(found) if isinstance(one, Sought)}
        with watch.store():
            every = list(sought.values())
            hits = await self._disk.run(shelf.search, target, every, k, filter, manner)
        answers: list[Answer | None] = [None] * len(queries)
        for (i, one), its in zip(sought.items(), hits, strict=True):
            answers[i] = Answer(its, one.truncated)
        return Answers(answers, errors, target.name, watch.read())

    async def classify(
        self,
        images: Sequence[bytes],
        labels: Sequence[str] = (),
        templates: Sequence[str] = (),
        top: int = 0,
        probe: str = "",
    ) -> Classified:
        """The `top` labels of each image (all if 0), best first, or its error; see classify.py.

        With the name of a probe, its classes take the place of the labels; see labelling.py.
        """
        if probe:
            if labels or templates:
                raise InvalidField("probe", "a probe has classes of its own; give no labels and no templates")
            return await self._labelling.classify(images, probe, top)
        return await self._classifier.classify(images, labels, templates, top)

    async def upsert(
        self, collection: str, points: Sequence[Point | PolylensError], key: str = ""
    ) -> Upserted:
        """Stores the points, embedding their pictures; an error in place of a point is handed through.

        With an idempotency key, or where a point says which version it replaces, all are stored or none.
        """
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
                    check_no_key(key)
                    images[position] = point.content
                else:
                    vectors[position] = unit_vector(point.content, self.encoder.dim)
                sound[position] = point
            except PolylensError as error:
                errors[position] = error
        embedded = await self._embedder.images(list(images.values()), watch, bulk=True)
        for order, (position, embedding) in enumerate(zip(images, embedded.embeddings, strict=True)):
            if embedding is None:
                errors[position] = embedded.errors[order]
            else:
                vectors[position] = embedding.vector_D
        if errors and (key or any(isinstance(one, Point) and one.if_version is not None for one in points)):
            raise errors[min(errors)]
        with watch.store():
            rows = [(position, sound[position], vectors[position]) for position in sorted(vectors)]
            errors |= await self._disk.run(shelf.write, target, rows, key)
        return Upserted(len(points) - len(errors), errors, watch.read())

    async def delete(
        self, collection: str, ids: Sequence[str], condition: Metadata | None = None, key: str = ""
    ) -> int:
        """How many points existed and are gone now: those of the ids, or those that meet the condition."""
        check_count(len(ids), "ids", self.limits)
        filter = _filter(condition)
        if filter is not None and ids:
            raise InvalidField("filter_json", "give ids or a filter, not both")
        target = await self._disk.run(self._store.open, collection)
        if filter is not None:
            work = partial(target.delete_where, filter)
        else:
            work = partial(target.delete, ids)
        return await self._disk.run(partial(work, idempotency_key=key or None))

    async def count(self, collection: str, condition: Metadata | None = None) -> int:
        """How many points there are that meet the condition."""
        filter = _filter(condition)
        target = await self._disk.run(self._store.open, collection)
        return await self._disk.run(target.count, filter)

    async def scan(
        self,
        collection: str,
        limit: int = 100,
        after: int = 0,
        vectors: bool = False,
        condition: Metadata | None = None,
    ) -> Page:
        """The next points that meet the condition, in the order in which they were last written."""
        check_count(limit, "limit", self.limits)
        filter = _filter(condition)
        target = await self._disk.run(self._store.open, collection)
        return await self._disk.run(shelf.scan, target, limit, after, vectors, filter)

    async def get(
        self, collection: str, ids: Sequence[str], vectors: bool = False
    ) -> list[StoredPoint | None]:
        """The point of each id, in order, or None."""
        check_count(len(ids), "ids", self.limits)
        target = await self._disk.run(self._store.open, collection)
        return await self._disk.run(shelf.get, target, ids, vectors)

    async def create_collection(
        self, name: str, exist_ok: bool = False, dtype: str = "", index: str = ""
    ) -> CollectionInfo:
        """A new, empty collection for vectors of this model."""
        return await self._disk.run(self._shelf.create, name, exist_ok, dtype, index)

    async def collection(self, name: str) -> CollectionInfo:
        """One collection by name."""
        return await self._disk.run(self._shelf.info, name)

    async def collections(self) -> list[CollectionInfo]:
        """All collections by name."""
        return await self._disk.run(self._shelf.infos)

    async def set_alias(self, name: str, collection: str) -> None:
        """Makes `name` another name of the collection."""
        await self._disk.run(self._store.alias, name, collection)

    async def remove_alias(self, name: str) -> None:
        """Takes the alias away; its collection stays."""
        await self._disk.run(self._store.unalias, name)

    async def aliases(self) -> dict[str, str]:
        """The collection of each alias."""
        return await self._disk.run(self._store.aliases)

    async def snapshot(self, name: str) -> SnapshotFile:
        """A copy of the collection as it is now, in the folder that the settings name for it."""
        folder = self.settings.snapshots
        if folder is None:
            raise NotOffered("the server has no folder for snapshots: --snapshots FOLDER")
        target = await self._disk.run(self._store.open, name)
        return await self._disk.run(shelf.snapshot, target, folder)

    async def drop_collection(self, name: str) -> None:
        """Deletes the collection and every point in it."""
        await self._disk.run(self._store.drop, name)


def _filter(condition: Metadata | None) -> Filter | None:
    with blame("filter_json"):
        return from_json(condition) if condition else None
