"""The gRPC methods: each reads its request, calls the engine, and writes its reply."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc

from .. import __version__
from ..errors import PolylensError
from ..proto.polylens.v1 import (
    collection_pb2,
    collection_pb2_grpc,
    embed_pb2,
    embed_pb2_grpc,
    info_pb2,
    info_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)
from . import converters as to
from .checks import blame
from .encoding import object_from_json
from .engine import Engine
from .errors import Overloaded
from .interceptor import time_limit
from .methods import SECONDS
from .records import Embedded, Point, ServerInfo, Upserted
from .status import faults

Context = Any  # grpc.aio.ServicerContext
DEFAULT_K = 10


class _WithEngine:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine


class SearchServicer(_WithEngine, search_pb2_grpc.SearchServiceServicer):
    async def Search(self, request: search_pb2.SearchRequest, context: Context) -> search_pb2.SearchResponse:
        query = to.query_from_proto(request.query)
        with blame("filter_json"):
            condition = object_from_json(request.filter_json, self._engine.limits.max_metadata_bytes)
        result = await self._engine.search(request.collection, query, request.k or DEFAULT_K, condition)
        return to.search_result_to_proto(result)


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


class CollectionServicer(_WithEngine, collection_pb2_grpc.CollectionServiceServicer):
    async def CreateCollection(
        self, request: collection_pb2.CreateCollectionRequest, context: Context
    ) -> collection_pb2.CreateCollectionResponse:
        info = await self._engine.create_collection(request.name, exist_ok=request.exist_ok)
        return collection_pb2.CreateCollectionResponse(collection=to.collection_to_proto(info))

    async def GetCollection(
        self, request: collection_pb2.GetCollectionRequest, context: Context
    ) -> collection_pb2.GetCollectionResponse:
        info = await self._engine.collection(request.name)
        return collection_pb2.GetCollectionResponse(collection=to.collection_to_proto(info))

    async def ListCollections(
        self, request: collection_pb2.ListCollectionsRequest, context: Context
    ) -> collection_pb2.ListCollectionsResponse:
        infos = await self._engine.collections()
        return collection_pb2.ListCollectionsResponse(collections=map(to.collection_to_proto, infos))

    async def DropCollection(
        self, request: collection_pb2.DropCollectionRequest, context: Context
    ) -> collection_pb2.DropCollectionResponse:
        await self._engine.drop_collection(request.name)
        return collection_pb2.DropCollectionResponse()

    async def UpsertPoints(
        self, request: collection_pb2.UpsertPointsRequest, context: Context
    ) -> collection_pb2.UpsertPointsResponse:
        points = await self._points(request.points)
        upserted = await self._engine.upsert(request.collection, points)
        _raise_if_all_failed(upserted.errors, len(points))
        return collection_pb2.UpsertPointsResponse(**self._upserted(upserted))

    async def UpsertPointsStream(
        self, requests: AsyncIterator[collection_pb2.UpsertPointsStreamRequest], context: Context
    ) -> AsyncIterator[collection_pb2.UpsertPointsStreamResponse]:
        async for request in requests:
            async with time_limit(SECONDS["CollectionService"]):
                points = await self._points(request.points)
                upserted = await self._when_there_is_room(request.collection, points)
            yield collection_pb2.UpsertPointsStreamResponse(chunk=request.chunk, **self._upserted(upserted))

    async def DeletePoints(
        self, request: collection_pb2.DeletePointsRequest, context: Context
    ) -> collection_pb2.DeletePointsResponse:
        deleted = await self._engine.delete(request.collection, request.ids)
        return collection_pb2.DeletePointsResponse(deleted=deleted)

    async def GetPoints(
        self, request: collection_pb2.GetPointsRequest, context: Context
    ) -> collection_pb2.GetPointsResponse:
        points = await self._engine.get(request.collection, request.ids, vectors=request.with_vectors)
        return collection_pb2.GetPointsResponse(points=to.stored_to_proto(request.ids, points))

    async def CountPoints(
        self, request: collection_pb2.CountPointsRequest, context: Context
    ) -> collection_pb2.CountPointsResponse:
        info = await self._engine.collection(request.collection)
        return collection_pb2.CountPointsResponse(count=info.count)

    async def _points(self, messages: Sequence[collection_pb2.Point]) -> list[Point | PolylensError]:
        # In a thread: the metadata of a full request takes a tenth of a second to parse.
        return await asyncio.to_thread(to.points_from_proto, messages, self._engine.limits)

    async def _when_there_is_room(self, collection: str, points: Sequence[Point | PolylensError]) -> Upserted:
        while True:  # a stream slows down where a single call is refused
            try:
                return await self._engine.upsert(collection, points)
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
        return to.info_to_proto(ServerInfo(__version__, self._engine.model(), self._engine.limits))


def add_to_server(engine: Engine, server: grpc.aio.Server) -> None:
    """Serves the engine's methods."""
    search_pb2_grpc.add_SearchServiceServicer_to_server(SearchServicer(engine), server)
    embed_pb2_grpc.add_EmbedServiceServicer_to_server(EmbedServicer(engine), server)
    collection_pb2_grpc.add_CollectionServiceServicer_to_server(CollectionServicer(engine), server)
    info_pb2_grpc.add_InfoServiceServicer_to_server(InfoServicer(engine), server)


def _raise_if_all_failed(errors: Mapping[int, Exception], count: int) -> None:
    """A batch of which nothing succeeded fails as a call, with the error of its first entry."""
    if errors and len(errors) == count:
        raise errors[0]
