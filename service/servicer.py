"""The gRPC methods: each reads its request, calls the engine, and writes its reply."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, TypeVar

import grpc

from .. import __version__
from ..errors import PolylensError
from ..proto.polylens.v1 import (
    classify_pb2,
    classify_pb2_grpc,
    collection_pb2,
    collection_pb2_grpc,
    describe_pb2,
    describe_pb2_grpc,
    embed_pb2,
    embed_pb2_grpc,
    info_pb2,
    info_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
    segment_pb2,
    segment_pb2_grpc,
    types_pb2,
)
from . import converters as to
from . import describe_converters as described
from .checks import blame
from .deadline import time_limit
from .encoding import object_from_json
from .engine import Engine
from .errors import Overloaded
from .methods import SECONDS
from .records import Embedded, Point, Upserted
from .segment_converters import segmentations_to_proto
from .status import faults
from .stopwatch import Stopwatch

Context = Any  # grpc.aio.ServicerContext
Result = TypeVar("Result")
DEFAULT_K, DEFAULT_PAGE, DEFAULT_FIRST = 10, 100, 50


class _WithEngine:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _condition(self, text: str) -> dict[str, Any]:
        with blame("filter_json"):
            return object_from_json(text, self._engine.limits.max_metadata_bytes)


class SearchServicer(_WithEngine, search_pb2_grpc.SearchServiceServicer):
    async def Search(self, request: search_pb2.SearchRequest, context: Context) -> search_pb2.SearchResponse:
        query = to.query_from_proto(request.query)
        condition = self._condition(request.filter_json)
        result = await self._engine.search(
            request.collection, query, request.k or DEFAULT_K, condition, to.manner_from_proto(request)
        )
        return to.search_result_to_proto(result)

    async def BatchSearch(
        self, request: search_pb2.BatchSearchRequest, context: Context
    ) -> search_pb2.BatchSearchResponse:
        queries = to.queries_from_proto(request.queries)
        condition = self._condition(request.filter_json)
        found = await self._engine.batch_search(
            request.collection, queries, request.k or DEFAULT_K, condition, to.manner_from_proto(request)
        )
        _raise_if_all_failed(found.errors, len(queries))
        return search_pb2.BatchSearchResponse(
            answers=to.answers_to_proto(found.answers),
            errors=to.faults_to_proto(faults(found.errors)),
            model_fingerprint=self._engine.encoder.fingerprint,
            timings=to.timings_to_proto(found.timings),
            collection=found.collection,
        )


class EmbedServicer(_WithEngine, embed_pb2_grpc.EmbedServiceServicer):
    async def EmbedTexts(
        self, request: embed_pb2.EmbedTextsRequest, context: Context
    ) -> embed_pb2.EmbedTextsResponse:
        embedded = await self._engine.embed_texts(request.texts)
        return embed_pb2.EmbedTextsResponse(**self._reply(embedded))

    async def EmbedImages(
        self, request: embed_pb2.EmbedImagesRequest, context: Context
    ) -> embed_pb2.EmbedImagesResponse:
        embedded = await self._engine.embed_images(request.images)
        return embed_pb2.EmbedImagesResponse(**self._reply(embedded))

    def _reply(self, embedded: Embedded) -> dict[str, Any]:
        _raise_if_all_failed(embedded.errors, len(embedded.embeddings))
        return {
            "embeddings": to.embeddings_to_proto(embedded.embeddings),
            "errors": to.faults_to_proto(faults(embedded.errors)),
            "model_fingerprint": self._engine.encoder.fingerprint,
            "timings": to.timings_to_proto(embedded.timings),
        }


class ClassifyServicer(_WithEngine, classify_pb2_grpc.ClassifyServiceServicer):
    async def Classify(
        self, request: classify_pb2.ClassifyRequest, context: Context
    ) -> classify_pb2.ClassifyResponse:
        found = await self._engine.classify(
            request.images, request.labels, request.templates, request.top, request.probe
        )
        _raise_if_all_failed(found.errors, len(request.images))
        return classify_pb2.ClassifyResponse(
            classifications=to.classifications_to_proto(found.labels),
            errors=to.faults_to_proto(faults(found.errors)),
            model_fingerprint=self._engine.encoder.fingerprint,
            timings=to.timings_to_proto(found.timings),
            truncated=found.truncated,
        )


class DescribeServicer(_WithEngine, describe_pb2_grpc.DescribeServiceServicer):
    async def Caption(
        self, request: describe_pb2.CaptionRequest, context: Context
    ) -> describe_pb2.CaptionResponse:
        found = await self._engine.caption(request.images, described.wording_from_request(request))
        _raise_if_all_failed(found.errors, len(request.images))
        return describe_pb2.CaptionResponse(
            captions=[one or "" for one in found.captions],
            errors=to.faults_to_proto(faults(found.errors)),
            model_fingerprint=self._engine.encoder.fingerprint,
            timings=to.timings_to_proto(found.timings),
        )

    async def Match(self, request: describe_pb2.MatchRequest, context: Context) -> describe_pb2.MatchResponse:
        found = await self._engine.match(request.images, request.texts)
        _raise_if_all_failed(found.errors, len(request.images))
        return describe_pb2.MatchResponse(
            matches=described.matches_to_proto(found.probabilities),
            errors=to.faults_to_proto(faults(found.errors)),
            model_fingerprint=self._engine.encoder.fingerprint,
            timings=to.timings_to_proto(found.timings),
            truncated=found.truncated,
        )

    async def Rerank(
        self, request: describe_pb2.RerankRequest, context: Context
    ) -> describe_pb2.RerankResponse:
        search = request.search
        with blame("search.query"):
            query = to.query_from_proto(search.query, "search.query")
        result = await self._engine.rerank(
            search.collection,
            query,
            search.k or DEFAULT_K,
            self._condition(search.filter_json),
            to.manner_from_proto(search),
            first=request.first or DEFAULT_FIRST,
            text=request.text,
        )
        return described.reranked_to_proto(result)


class SegmentServicer(_WithEngine, segment_pb2_grpc.SegmentServiceServicer):
    async def Segment(
        self, request: segment_pb2.SegmentRequest, context: Context
    ) -> segment_pb2.SegmentResponse:
        found = await self._engine.segment(request.images)
        _raise_if_all_failed(found.errors, len(request.images))
        return segment_pb2.SegmentResponse(
            segmentations=segmentations_to_proto(found.segmentations),
            errors=to.faults_to_proto(faults(found.errors)),
            model_fingerprint=found.fingerprint,
            timings=to.timings_to_proto(found.timings),
        )


class CollectionServicer(_WithEngine, collection_pb2_grpc.CollectionServiceServicer):
    async def CreateCollection(
        self, request: collection_pb2.CreateCollectionRequest, context: Context
    ) -> collection_pb2.CreateCollectionResponse:
        info, timings = await _timed(
            self._engine.create_collection(request.name, request.exist_ok, request.dtype, request.index)
        )
        return collection_pb2.CreateCollectionResponse(
            collection=to.collection_to_proto(info), timings=timings
        )

    async def GetCollection(
        self, request: collection_pb2.GetCollectionRequest, context: Context
    ) -> collection_pb2.GetCollectionResponse:
        info, timings = await _timed(self._engine.collection(request.name))
        return collection_pb2.GetCollectionResponse(collection=to.collection_to_proto(info), timings=timings)

    async def ListCollections(
        self, request: collection_pb2.ListCollectionsRequest, context: Context
    ) -> collection_pb2.ListCollectionsResponse:
        infos, timings = await _timed(self._engine.collections())
        return collection_pb2.ListCollectionsResponse(
            collections=map(to.collection_to_proto, infos), timings=timings
        )

    async def DropCollection(
        self, request: collection_pb2.DropCollectionRequest, context: Context
    ) -> collection_pb2.DropCollectionResponse:
        _, timings = await _timed(self._engine.drop_collection(request.name))
        return collection_pb2.DropCollectionResponse(timings=timings)

    async def UpsertPoints(
        self, request: collection_pb2.UpsertPointsRequest, context: Context
    ) -> collection_pb2.UpsertPointsResponse:
        points = await self._points(request.points)
        upserted = await self._engine.upsert(request.collection, points, request.idempotency_key)
        _raise_if_all_failed(upserted.errors, len(points))
        return collection_pb2.UpsertPointsResponse(**self._upserted(upserted))

    async def UpsertPointsStream(
        self, requests: AsyncIterator[collection_pb2.UpsertPointsStreamRequest], context: Context
    ) -> AsyncIterator[collection_pb2.UpsertPointsStreamResponse]:
        async for request in requests:
            async with time_limit(SECONDS["CollectionService"]):
                points = await self._points(request.points)
                upserted = await self._when_there_is_room(request, points)
            yield collection_pb2.UpsertPointsStreamResponse(chunk=request.chunk, **self._upserted(upserted))

    async def DeletePoints(
        self, request: collection_pb2.DeletePointsRequest, context: Context
    ) -> collection_pb2.DeletePointsResponse:
        deleted, timings = await _timed(
            self._engine.delete(
                request.collection,
                request.ids,
                self._condition(request.filter_json),
                request.idempotency_key,
            )
        )
        return collection_pb2.DeletePointsResponse(deleted=deleted, timings=timings)

    async def GetPoints(
        self, request: collection_pb2.GetPointsRequest, context: Context
    ) -> collection_pb2.GetPointsResponse:
        points, timings = await _timed(
            self._engine.get(request.collection, request.ids, vectors=request.with_vectors)
        )
        return collection_pb2.GetPointsResponse(
            points=to.stored_to_proto(request.ids, points), timings=timings
        )

    async def CountPoints(
        self, request: collection_pb2.CountPointsRequest, context: Context
    ) -> collection_pb2.CountPointsResponse:
        condition = self._condition(request.filter_json)
        count, timings = await _timed(self._engine.count(request.collection, condition))
        return collection_pb2.CountPointsResponse(count=count, timings=timings)

    async def ScanPoints(
        self, request: collection_pb2.ScanPointsRequest, context: Context
    ) -> collection_pb2.ScanPointsResponse:
        condition = self._condition(request.filter_json)
        limit = request.limit or DEFAULT_PAGE
        page, timings = await _timed(
            self._engine.scan(request.collection, limit, request.after, request.with_vectors, condition)
        )
        points = to.stored_to_proto([point.id for point in page.points], page.points)
        return collection_pb2.ScanPointsResponse(points=points, next=page.next, timings=timings)

    async def SetAlias(
        self, request: collection_pb2.SetAliasRequest, context: Context
    ) -> collection_pb2.SetAliasResponse:
        _, timings = await _timed(self._engine.set_alias(request.alias.name, request.alias.collection))
        return collection_pb2.SetAliasResponse(timings=timings)

    async def RemoveAlias(
        self, request: collection_pb2.RemoveAliasRequest, context: Context
    ) -> collection_pb2.RemoveAliasResponse:
        _, timings = await _timed(self._engine.remove_alias(request.name))
        return collection_pb2.RemoveAliasResponse(timings=timings)

    async def ListAliases(
        self, request: collection_pb2.ListAliasesRequest, context: Context
    ) -> collection_pb2.ListAliasesResponse:
        found, timings = await _timed(self._engine.aliases())
        aliases = [collection_pb2.Alias(name=name, collection=one) for name, one in sorted(found.items())]
        return collection_pb2.ListAliasesResponse(aliases=aliases, timings=timings)

    async def SnapshotCollection(
        self, request: collection_pb2.SnapshotCollectionRequest, context: Context
    ) -> collection_pb2.SnapshotCollectionResponse:
        made, timings = await _timed(self._engine.snapshot(request.name))
        return collection_pb2.SnapshotCollectionResponse(
            file=made.name, size=made.size, count=made.count, timings=timings
        )

    async def _points(self, messages: Sequence[collection_pb2.Point]) -> list[Point | PolylensError]:
        # In a thread: the metadata of a full request takes a tenth of a second to parse.
        return await asyncio.to_thread(to.points_from_proto, messages, self._engine.limits)

    async def _when_there_is_room(
        self,
        request: collection_pb2.UpsertPointsStreamRequest,
        points: Sequence[Point | PolylensError],
    ) -> Upserted:
        while True:  # a stream slows down where a single call is refused
            try:
                return await self._engine.upsert(request.collection, points, request.idempotency_key)
            except Overloaded as error:
                await asyncio.sleep(min(error.retry_after, 0.5))

    def _upserted(self, upserted: Upserted) -> dict[str, Any]:
        return {
            "stored": upserted.stored,
            "errors": to.faults_to_proto(faults(upserted.errors)),
            "model_fingerprint": self._engine.encoder.fingerprint,
            "timings": to.timings_to_proto(upserted.timings),
        }


class InfoServicer(_WithEngine, info_pb2_grpc.InfoServiceServicer):
    async def GetInfo(self, request: info_pb2.GetInfoRequest, context: Context) -> info_pb2.GetInfoResponse:
        watch = Stopwatch()
        reply = to.info_to_proto(self._engine.info(__version__))
        reply.timings.CopyFrom(to.timings_to_proto(watch.read()))
        return reply


def add_to_server(engine: Engine, server: grpc.aio.Server) -> None:
    """Serves the engine's methods."""
    search_pb2_grpc.add_SearchServiceServicer_to_server(SearchServicer(engine), server)
    embed_pb2_grpc.add_EmbedServiceServicer_to_server(EmbedServicer(engine), server)
    classify_pb2_grpc.add_ClassifyServiceServicer_to_server(ClassifyServicer(engine), server)
    describe_pb2_grpc.add_DescribeServiceServicer_to_server(DescribeServicer(engine), server)
    segment_pb2_grpc.add_SegmentServiceServicer_to_server(SegmentServicer(engine), server)
    collection_pb2_grpc.add_CollectionServiceServicer_to_server(CollectionServicer(engine), server)
    info_pb2_grpc.add_InfoServiceServicer_to_server(InfoServicer(engine), server)


async def _timed(work: Awaitable[Result]) -> tuple[Result, types_pb2.Timings]:
    """What work on a collection gives, and how long it took."""
    watch = Stopwatch()
    with watch.store():
        result = await work
    return result, to.timings_to_proto(watch.read())


def _raise_if_all_failed(errors: Mapping[int, Exception], count: int) -> None:
    """A batch of which nothing succeeded fails as a call, with the error of its first entry."""
    if errors and len(errors) == count:
        raise errors[0]
