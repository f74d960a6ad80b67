"""What the clients ask: each function builds the requests of one call and says how its replies are read.

Both clients take their methods from here, so these are also the signatures and the documentation of
`Client` and `AsyncClient`. D = dimensions of the model's vectors, N = entries.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike

from ..clip.evaluation.ranking import LabelScore
from ..errors import InvalidInput
from ..proto.polylens.v1 import classify_pb2, collection_pb2, describe_pb2, embed_pb2, info_pb2, search_pb2
from . import converters as to
from . import describe_converters as described
from .asking import Asking, Plain, as_query, parts
from .chunks import CHUNK_ENTRIES, LIMITS, Book, Picture, picture_bytes
from .encoding import object_to_json
from .records import (
    CollectionInfo,
    Effort,
    IdQuery,
    ImageQuery,
    Manner,
    Page,
    Point,
    Query,
    SearchResult,
    ServerInfo,
    SnapshotFile,
    StoredPoint,
    TextQuery,
    Vector,
    VectorQuery,
)

Result = TypeVar("Result")
USUAL = Manner()


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """Requests of one method, to be sent in order, and how their replies become the result."""

    method: str
    requests: Iterable[Message]
    read: Callable[[Sequence[Any]], Result]
    note: Callable[[Any], None] = lambda reply: None  # called with each reply as it comes


def search(
    text: str | None = None,
    *,
    image: Picture | None = None,
    id: str | None = None,
    vector: ArrayLike | None = None,
    mixture: Sequence[tuple[Plain, float]] | None = None,
    k: int = 10,
    collection: str = "",
    filter: Mapping[str, Any] | None = None,
    effort: Effort = USUAL.effort,
    diversity: float = 0.0,
    threshold: float | None = None,
    rerank: int = 0,
    rerank_text: str = "",
) -> Call[SearchResult]:
    """The `k` stored points nearest to a text, image, id of a stored point, vector or mixture, best first.

    A mixture is a list of pairs of a query, as of `batch_search`, and its weight: `[(Path("day.jpg"), 1),
    ("at night", 0.7)]`. A weight below zero leads away. `collection` may be left out if the server has only
    one. `filter` is a condition on the metadata. `effort` matters where the collection has an index. With a
    `diversity` above 0, up to 1, hits like those before them stand back. With a `threshold` hits have at
    least that score, and are found exactly. With `rerank`, the pictures of so many of the nearest points are
    compared with the text, or with `rerank_text`, and come first, best first; the server must run InternVL-G
    and have the pictures.
    """
    given = (text, image, id, vector, mixture)
    if (count := sum(one is not None for one in given)) != 1:
        raise InvalidInput(f"search for one of text, image, id, vector and mixture; got {count} of them")

    def query() -> Query:
        if image is not None:
            return ImageQuery(picture_bytes(image))
        if id is not None:
            return IdQuery(id)
        if vector is not None:
            return VectorQuery(np.asarray(vector, np.float32))
        return as_query(list(mixture)) if mixture is not None else TextQuery(str(text))

    def request() -> search_pb2.SearchRequest:
        condition = object_to_json(filter or {})
        return search_pb2.SearchRequest(
            collection=collection,
            query=to.query_to_proto(query()),
            k=k,
            filter_json=condition,
            effort=to.effort_to_proto(effort),
            diversity=diversity,
            threshold=threshold,
        )

    # What may have to read a picture is built only when it is sent.
    reads = image is not None or mixture is not None
    searches = (request() for _ in range(1)) if reads else [request()]
    if not rerank:
        return Call("Search", searches, lambda replies: to.search_result_from_proto(replies[0]))
    reranks = (describe_pb2.RerankRequest(search=one, first=rerank, text=rerank_text) for one in searches)
    return Call("Rerank", reranks, lambda replies: described.reranked_from_proto(replies[0]))


def batch_search(
    queries: Sequence[Asking | Query],
    *,
    k: int = 10,
    collection: str = "",
    filter: Mapping[str, Any] | None = None,
    effort: Effort = USUAL.effort,
    diversity: float = 0.0,
    threshold: float | None = None,
) -> Call[list[SearchResult]]:
    """What `search` finds for each query; raises `BatchError` if some could not be answered.

    A query is a text, a picture (Path, bytes, PIL image, array of pixels), a vector (array), a query of
    `polylens.service.records` such as `IdQuery("cat")`, or a mixture of these as of `search`.
    """
    book, condition = Book(len(queries)), object_to_json(filter or {})

    def messages() -> Iterator[tuple[int, search_pb2.Query, int]]:
        for position, query in enumerate(queries):
            with book.fault_of(position):
                message = to.query_to_proto(as_query(query))
                yield position, message, message.ByteSize()

    hits, pieces = LIMITS.max_batch_hits // max(k, 1), LIMITS.max_items // max(map(parts, queries), default=1)
    requests = (
        search_pb2.BatchSearchRequest(
            collection=collection,
            queries=chunk,
            k=k,
            filter_json=condition,
            effort=to.effort_to_proto(effort),
            diversity=diversity,
            threshold=threshold,
        )
        for chunk in book.chunks(messages(), most=max(1, min(CHUNK_ENTRIES, hits, pieces)))
    )
    return Call("BatchSearch", requests, lambda replies: book.results(replies, to.results_from_proto))


def classify(
    images: Sequence[Picture],
    labels: Sequence[str] = (),
    *,
    templates: Sequence[str] = (),
    top: int = 0,
    probe: str = "",
) -> Call[list[list[LabelScore]]]:
    """The `top` labels of each image (all if 0) with their probabilities, best first.

    Labels may be of any language. A template is a sentence with {} where the label goes. The name of a
    `probe` that the server has stands instead of both. Raises `BatchError` if some image could not be
    classified.
    """
    book = Book(len(images))
    requests = (
        classify_pb2.ClassifyRequest(images=chunk, labels=labels, templates=templates, top=top, probe=probe)
        for chunk in book.chunks(book.pictures(images))
    )
    return Call(
        "Classify",
        requests,
        lambda replies: book.results(replies, lambda r: to.classifications_from_proto(r.classifications)),
    )


def embed_texts(texts: Sequence[str]) -> Call[Vector]:
    """A unit vector for each text, (N, D) float32; raises `BatchError` if some text has none."""
    book = Book(len(texts))
    entries = ((position, text, len(text.encode())) for position, text in enumerate(texts))
    requests = (embed_pb2.EmbedTextsRequest(texts=chunk) for chunk in book.chunks(entries))
    return Call("EmbedTexts", requests, book.vectors)


def embed_images(images: Sequence[Picture]) -> Call[Vector]:
    """A unit vector for each image, (N, D) float32; raises `BatchError` if some image has none."""
    book = Book(len(images))
    requests = (embed_pb2.EmbedImagesRequest(images=chunk) for chunk in book.chunks(book.pictures(images)))
    return Call("EmbedImages", requests, book.vectors)


def upsert(
    ids: Sequence[str],
    *,
    collection: str,
    images: Sequence[Picture] | None = None,
    vectors: ArrayLike | None = None,
    metadata: Sequence[Mapping[str, Any]] | None = None,
    if_version: Sequence[int | None] | None = None,
    idempotency_key: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Call[int]:
    """How many points were stored, from images or from vectors (N, D) of the server's model.

    Raises `BatchError` if some could not be; the others are stored then. `if_version` says for each point
    which version it must have (0: there must be none, None: any); of a chunk of 64 where one has another,
    none is stored. With an `idempotency_key`, for vectors only, the same call within a day writes nothing.
    `progress` is called with the number of points that each reply of the server is about.
    """
    if (images is None) == (vectors is None):
        raise InvalidInput("give either images or vectors")
    book = Book(len(ids))
    contents: Any = images if images is not None else np.asarray(vectors, np.float32)
    given = (("images or vectors", contents), ("metadata", metadata), ("versions", if_version))
    for name, values in given:
        if values is not None and len(values) != len(ids):
            raise InvalidInput(f"{len(ids)} ids, but {len(values)} {name}")

    def points() -> Iterator[tuple[int, collection_pb2.Point, int]]:
        entries = (
            book.pictures(contents) if images is not None else ((i, v, 0) for i, v in enumerate(contents))
        )
        for position, content, _ in entries:
            extra = metadata[position] if metadata is not None else {}
            with book.fault_of(position):
                version = if_version[position] if if_version is not None else None
                message = to.point_to_proto(Point(ids[position], content, extra, version))
                yield position, message, message.ByteSize()

    requests = (
        collection_pb2.UpsertPointsStreamRequest(
            chunk=number,
            collection=collection,
            points=chunk,
            idempotency_key=f"{idempotency_key}/{number}" if idempotency_key else "",
        )
        for number, chunk in enumerate(book.chunks(points()))
    )

    def note(reply: collection_pb2.UpsertPointsStreamResponse) -> None:
        if progress is not None:
            progress(reply.stored + len(reply.errors))

    return Call("UpsertPointsStream", requests, book.stored, note)


def delete(
    ids: Sequence[str] = (),
    *,
    collection: str,
    filter: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Call[int]:
    """How many of the points existed and are gone now: those of the ids, or all that meet the filter.

    The same call again with the same key within a day deletes nothing and answers the same.
    """
    if filter is not None and (ids or not filter):
        raise InvalidInput("give ids, or a filter that says something")
    condition = object_to_json(filter or {})
    requests = [
        collection_pb2.DeletePointsRequest(
            collection=collection,
            ids=part,
            filter_json=condition,
            idempotency_key=f"{idempotency_key}/{number}" if idempotency_key else "",
        )
        for number, part in enumerate([()] if filter else _parts(ids))
    ]
    return Call("DeletePoints", requests, lambda replies: sum(reply.deleted for reply in replies))


def get(ids: Sequence[str], *, collection: str, vectors: bool = False) -> Call[list[StoredPoint | None]]:
    """The point of each id, in order, or None; with its unit vector (D,) float32 if asked for."""
    requests = [
        collection_pb2.GetPointsRequest(collection=collection, ids=part, with_vectors=vectors)
        for part in _parts(ids)
    ]
    return Call(
        "GetPoints", requests, lambda replies: [p for r in replies for p in to.stored_from_proto(r.points)]
    )


def count(*, collection: str, filter: Mapping[str, Any] | None = None) -> Call[int]:
    """How many points the collection has, all or those that meet the filter."""
    condition = object_to_json(filter or {})
    request = collection_pb2.CountPointsRequest(collection=collection, filter_json=condition)
    return Call("CountPoints", [request], lambda replies: int(replies[0].count))


def scan(
    *,
    collection: str,
    limit: int = 100,
    after: int = 0,
    vectors: bool = False,
    filter: Mapping[str, Any] | None = None,
) -> Call[Page]:
    """Points in the order in which they were last written; go on with `after=page.next` until it is 0."""
    request = collection_pb2.ScanPointsRequest(
        collection=collection,
        limit=limit,
        after=after,
        with_vectors=vectors,
        filter_json=object_to_json(filter or {}),
    )
    return Call("ScanPoints", [request], lambda replies: to.page_from_proto(replies[0]))


def collections() -> Call[list[CollectionInfo]]:
    """All collections by name."""
    request = collection_pb2.ListCollectionsRequest()
    return Call(
        "ListCollections", [request], lambda replies: [*map(to.collection_from_proto, replies[0].collections)]
    )


def collection(name: str) -> Call[CollectionInfo]:
    """One collection by name."""
    request = collection_pb2.GetCollectionRequest(name=name)
    return Call("GetCollection", [request], lambda replies: to.collection_from_proto(replies[0].collection))


def create_collection(
    name: str, *, exist_ok: bool = False, dtype: str = "float32", index: str = "auto"
) -> Call[CollectionInfo]:
    """A new, empty collection for vectors of the server's model.

    `dtype` is float32 or float16; `index` a FAISS factory string such as "HNSW32", or "auto".
    """
    request = collection_pb2.CreateCollectionRequest(name=name, exist_ok=exist_ok, dtype=dtype, index=index)
    return Call(
        "CreateCollection", [request], lambda replies: to.collection_from_proto(replies[0].collection)
    )


def drop_collection(name: str) -> Call[None]:
    """Deletes the collection and every point in it."""
    return Call("DropCollection", [collection_pb2.DropCollectionRequest(name=name)], lambda replies: None)


def set_alias(name: str, collection: str) -> Call[None]:
    """Makes `name` another name of the collection; if it was one of another, it changes in one step."""
    alias = collection_pb2.Alias(name=name, collection=collection)
    return Call("SetAlias", [collection_pb2.SetAliasRequest(alias=alias)], lambda replies: None)


def remove_alias(name: str) -> Call[None]:
    """Takes the alias away; its collection stays."""
    return Call("RemoveAlias", [collection_pb2.RemoveAliasRequest(name=name)], lambda replies: None)


def aliases() -> Call[dict[str, str]]:
    """The collection of each alias."""
    return Call(
        "ListAliases",
        [collection_pb2.ListAliasesRequest()],
        lambda replies: {one.name: one.collection for one in replies[0].aliases},
    )


def snapshot(name: str) -> Call[SnapshotFile]:
    """Copies the collection, as it is now, into a file of the server's folder for snapshots."""
    return Call(
        "SnapshotCollection",
        [collection_pb2.SnapshotCollectionRequest(name=name)],
        lambda replies: SnapshotFile(replies[0].file, replies[0].size, replies[0].count),
    )


def info() -> Call[ServerInfo]:
    """The server's model, its fingerprint and its limits."""
    return Call("GetInfo", [info_pb2.GetInfoRequest()], lambda replies: to.info_from_proto(replies[0]))


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + LIMITS.max_items] for start in range(0, len(ids), LIMITS.max_items))
