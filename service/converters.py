"""Pure conversions between messages and records, in pairs `x_to_proto` and `x_from_proto`.

A server reads requests and writes replies with them, a client the other way round.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from ..clip.evaluation.ranking import LabelScore
from ..errors import InvalidInput, PolylensError
from ..proto.polylens.v1 import (
    classify_pb2,
    collection_pb2,
    describe_pb2,
    embed_pb2,
    info_pb2,
    search_pb2,
    types_pb2,
)
from .checks import blame
from .encoding import object_from_json, object_to_json, vector_from_bytes, vector_to_bytes
from .errors import InvalidField
from .records import (
    Answer,
    CollectionInfo,
    Effort,
    Embedding,
    Fault,
    Hit,
    IdQuery,
    ImageQuery,
    Manner,
    MixtureQuery,
    ModelInfo,
    Page,
    PlainQuery,
    Point,
    Query,
    SearchResult,
    ServerInfo,
    StoredPoint,
    TextQuery,
    Timings,
    VectorQuery,
)
from .settings import Limits


def query_to_proto(query: Query) -> search_pb2.Query:
    match query:
        case TextQuery(text):
            return search_pb2.Query(text=text)
        case ImageQuery(image):
            return search_pb2.Query(image=image)
        case IdQuery(id):
            return search_pb2.Query(id=id)
        case VectorQuery(vector_D):
            return search_pb2.Query(vector=vector_to_bytes(vector_D))
        case MixtureQuery(parts):
            weighted = [search_pb2.WeightedQuery(query=query_to_proto(q), weight=w) for q, w in parts]
            return search_pb2.Query(mixture=search_pb2.Mixture(parts=weighted))


def query_from_proto(message: search_pb2.Query, field: str = "query") -> Query:
    if message.WhichOneof("kind") != "mixture":
        return _plain_from_proto(message, field)
    parts = []
    for i, part in enumerate(message.mixture.parts):
        query = _plain_from_proto(part.query, f"{field}.mixture.parts[{i}].query")
        parts.append((query, part.weight if part.HasField("weight") else 1.0))
    return MixtureQuery(parts)


def queries_from_proto(messages: Iterable[search_pb2.Query]) -> list[Query | PolylensError]:
    """A query for each message, or the error that keeps it from being one: its neighbours are unaffected."""
    queries: list[Query | PolylensError] = []
    for i, message in enumerate(messages):
        try:
            queries.append(query_from_proto(message, f"queries[{i}]"))
        except PolylensError as error:
            queries.append(error)
    return queries


def _plain_from_proto(message: search_pb2.Query, field: str) -> PlainQuery:
    match message.WhichOneof("kind"):
        case "text":
            return TextQuery(message.text)
        case "image":
            return ImageQuery(message.image)
        case "id":
            return IdQuery(message.id)
        case "vector":
            with blame(f"{field}.vector"):
                return VectorQuery(vector_from_bytes(message.vector))
        case "mixture":
            raise InvalidField(field, "a mixture inside a mixture")
    raise InvalidField(field, "one of text, image, id, vector and mixture is needed")


def effort_to_proto(effort: Effort) -> search_pb2.Effort:
    return search_pb2.Effort(exact=effort.exact, nprobe=effort.nprobe or 0, ef_search=effort.ef_search or 0)


def manner_from_proto(message: search_pb2.SearchRequest | search_pb2.BatchSearchRequest) -> Manner:
    effort = message.effort
    return Manner(
        Effort(effort.exact, effort.nprobe or None, effort.ef_search or None),
        message.diversity,
        message.threshold if message.HasField("threshold") else None,
    )


def timings_to_proto(timings: Timings) -> types_pb2.Timings:
    return types_pb2.Timings(
        prepare_ms=timings.prepare_ms,
        queue_ms=timings.queue_ms,
        encode_ms=timings.encode_ms,
        store_ms=timings.store_ms,
        total_ms=timings.total_ms,
    )


def timings_from_proto(message: types_pb2.Timings) -> Timings:
    return Timings(
        message.prepare_ms, message.queue_ms, message.encode_ms, message.store_ms, message.total_ms
    )


def search_result_to_proto(result: SearchResult) -> search_pb2.SearchResponse:
    return search_pb2.SearchResponse(**common_fields(result))


def common_fields(result: SearchResult) -> dict[str, Any]:
    """What the responses of Search and of Rerank have in common, by field."""
    return {
        "hits": hits_to_proto(result.hits),
        "truncated": result.truncated,
        "model_fingerprint": result.fingerprint,
        "timings": timings_to_proto(result.timings),
        "collection": result.collection,
    }


def search_result_from_proto(
    message: search_pb2.SearchResponse | describe_pb2.RerankResponse,
) -> SearchResult:
    return SearchResult(
        hits_from_proto(message.hits),
        message.collection,
        message.model_fingerprint,
        message.truncated,
        timings_from_proto(message.timings),
    )


def answers_to_proto(answers: Iterable[Answer | None]) -> list[search_pb2.Answer]:
    return [
        search_pb2.Answer()
        if one is None
        else search_pb2.Answer(hits=hits_to_proto(one.hits), truncated=one.truncated)
        for one in answers
    ]


def results_from_proto(message: search_pb2.BatchSearchResponse) -> list[SearchResult | None]:
    """A result for each query of a batch; they share the timings."""
    failed = {error.index for error in message.errors}
    name, fingerprint, timings = (
        message.collection,
        message.model_fingerprint,
        timings_from_proto(message.timings),
    )
    return [
        None
        if i in failed
        else SearchResult(hits_from_proto(one.hits), name, fingerprint, one.truncated, timings)
        for i, one in enumerate(message.answers)
    ]


def hits_to_proto(hits: Iterable[Hit]) -> list[search_pb2.Hit]:
    return [
        search_pb2.Hit(
            id=hit.id, score=hit.score, metadata_json=object_to_json(hit.metadata), match=hit.match
        )
        for hit in hits
    ]


def hits_from_proto(messages: Iterable[search_pb2.Hit]) -> list[Hit]:
    return [
        Hit(
            hit.id,
            hit.score,
            object_from_json(hit.metadata_json),
            hit.match if hit.HasField("match") else None,
        )
        for hit in messages
    ]


def classifications_to_proto(
    labels: Iterable[Sequence[LabelScore] | None],
) -> list[classify_pb2.Classification]:
    return [
        classify_pb2.Classification(
            labels=[
                classify_pb2.LabelScore(label=score.label, probability=score.probability, score=score.score)
                for score in one or ()
            ]
        )
        for one in labels
    ]


def classifications_from_proto(
    messages: Iterable[classify_pb2.Classification],
) -> list[list[LabelScore] | None]:
    return [[LabelScore(s.label, s.probability, s.score) for s in one.labels] or None for one in messages]


def faults_to_proto(faults: Iterable[Fault]) -> list[types_pb2.ItemError]:
    return [types_pb2.ItemError(index=one.index, code=one.code, message=one.message) for one in faults]


def faults_from_proto(messages: Iterable[types_pb2.ItemError]) -> list[Fault]:
    return [Fault(one.index, one.code, one.message) for one in messages]


def embeddings_to_proto(embeddings: Iterable[Embedding | None]) -> list[embed_pb2.Embedding]:
    return [
        embed_pb2.Embedding(vector=vector_to_bytes(one.vector_D), truncated=one.truncated)
        if one is not None
        else embed_pb2.Embedding()
        for one in embeddings
    ]


def embeddings_from_proto(messages: Iterable[embed_pb2.Embedding]) -> list[Embedding | None]:
    return [
        Embedding(vector_from_bytes(one.vector), one.truncated) if one.vector else None for one in messages
    ]


def point_to_proto(point: Point) -> collection_pb2.Point:
    message = collection_pb2.Point(
        id=point.id, metadata_json=object_to_json(point.metadata), if_version=point.if_version
    )
    if isinstance(point.content, bytes):
        message.image = point.content
    else:
        message.vector = vector_to_bytes(point.content)
    return message


def points_from_proto(
    messages: Iterable[collection_pb2.Point], limits: Limits
) -> list[Point | PolylensError]:
    """A point for each message, or the error that keeps it from being one: its neighbours are unaffected."""
    points: list[Point | PolylensError] = []
    for message in messages:
        try:
            points.append(_point_from_proto(message, limits))
        except PolylensError as error:
            points.append(error)
    return points


def _point_from_proto(message: collection_pb2.Point, limits: Limits) -> Point:
    with blame("metadata_json"):
        metadata = object_from_json(message.metadata_json, limits.max_metadata_bytes)
    version = message.if_version if message.HasField("if_version") else None
    match message.WhichOneof("content"):
        case "image":
            return Point(message.id, message.image, metadata, version)
        case "vector":
            with blame("vector"):
                return Point(message.id, vector_from_bytes(message.vector), metadata, version)
    raise InvalidInput("one of image and vector is needed")


def stored_to_proto(
    ids: Sequence[str], points: Sequence[StoredPoint | None]
) -> list[collection_pb2.StoredPoint]:
    return [
        collection_pb2.StoredPoint(id=id)
        if point is None
        else collection_pb2.StoredPoint(
            id=id,
            found=True,
            vector=b"" if point.vector_D is None else vector_to_bytes(point.vector_D),
            metadata_json=object_to_json(point.metadata),
            version=point.version,
        )
        for id, point in zip(ids, points, strict=True)
    ]


def stored_from_proto(messages: Iterable[collection_pb2.StoredPoint]) -> list[StoredPoint | None]:
    return [
        StoredPoint(
            one.id,
            object_from_json(one.metadata_json),
            vector_from_bytes(one.vector) if one.vector else None,
            one.version,
        )
        if one.found
        else None
        for one in messages
    ]


def page_from_proto(message: collection_pb2.ScanPointsResponse) -> Page:
    return Page([one for one in stored_from_proto(message.points) if one is not None], message.next)


def collection_to_proto(info: CollectionInfo) -> collection_pb2.Collection:
    return collection_pb2.Collection(
        name=info.name,
        dim=info.dim,
        model_fingerprint=info.fingerprint,
        count=info.count,
        problem=info.problem,
    )


def collection_from_proto(message: collection_pb2.Collection) -> CollectionInfo:
    return CollectionInfo(
        message.name, message.dim, message.model_fingerprint, message.count, message.problem
    )


def info_to_proto(info: ServerInfo) -> info_pb2.GetInfoResponse:
    model, limits = info.model, info.limits
    return info_pb2.GetInfoResponse(
        version=info.version,
        model=info_pb2.Model(
            name=model.name,
            fingerprint=model.fingerprint,
            dim=model.dim,
            max_text_tokens=model.max_text_tokens,
            logit_scale=model.logit_scale,
        ),
        limits=info_pb2.Limits(**asdict(limits)),
        capabilities=info.capabilities,
    )


def info_from_proto(message: info_pb2.GetInfoResponse) -> ServerInfo:
    model, limits = message.model, message.limits
    return ServerInfo(
        message.version,
        ModelInfo(model.name, model.fingerprint, model.dim, model.max_text_tokens, model.logit_scale),
        Limits(**{one.name: getattr(limits, one.name) for one in fields(Limits)}),
        tuple(message.capabilities),
    )
