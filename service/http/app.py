"""The routes: each line of the table says method, path, the gRPC method it stands for, and what is done."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine import Engine
from ..originals import Originals
from . import describing, embeddings, searching, segmenting
from .bodies import Body
from .door import Door, Endpoint
from .gallery import Gallery
from .openapi import document
from .pages import docs_page, static_pages
from .replies import problem

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Parts:
    """What routes work with; `ready` says whether canaries come through, `metrics` gives Prometheus' text."""

    engine: Engine
    door: Door
    ready: Callable[[], bool]
    metrics: Callable[[], bytes]
    gallery: Gallery = field(default_factory=lambda: Gallery(Originals()))


def new_app(parts: Parts) -> ASGIApp:
    """The application, to be served or called as it is."""
    routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in open_pages(parts).items()]
    routes += [Route(path, endpoint, methods=[method]) for method, path, endpoint in guarded(parts)]
    return _with_headers(Starlette(routes=routes, exception_handlers={HTTPException: _refused}))


def open_pages(parts: Parts) -> dict[str, Endpoint]:
    """What anyone may see by path: the pages, which hold nothing of anyone's, and how the server feels."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(request: Request) -> Response:
        ready = parts.ready()
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def openapi(request: Request) -> Response:
        return JSONResponse(described)

    described = document(parts.engine.limits)
    pages = {path: page.answer for path, page in [*static_pages().items(), ("/docs", docs_page(described))]}
    return {**pages, "/healthz": healthz, "/readyz": readyz, "/openapi.json": openapi}


def guarded(parts: Parts) -> list[tuple[str, str, Endpoint]]:
    """What only those may see who pass the door."""
    engine, door, gallery = parts.engine, parts.door, parts.gallery

    async def metrics(request: Request) -> Response:
        return Response(await asyncio.to_thread(parts.metrics), media_type=METRICS_TYPE)

    async def picture(request: Request) -> Response:
        return await gallery.picture(request.path_params["collection"], request.path_params["id"], engine)

    async def search(body: Body) -> Response:
        return await searching.search(body, engine, gallery)

    async def embed(body: Body) -> Response:
        return await embeddings.embeddings(body, engine)

    async def classify(body: Body) -> Response:
        return await searching.classify(body, engine)

    async def rerank(body: Body) -> Response:
        return await searching.rerank(body, engine, gallery)

    async def caption(body: Body) -> Response:
        return await describing.captions(body, engine)

    async def match(body: Body) -> Response:
        return await describing.match(body, engine)

    async def segment(body: Body) -> Response:
        return await segmenting.segment(body, engine)

    async def collections(request: Request) -> Response:
        return await searching.collections(engine)

    async def models(request: Request) -> Response:
        return await searching.models(engine)

    return [
        ("POST", "/v1/embeddings", door.told("EmbedImages", embed)),
        ("POST", "/v1/search", door.told("Search", search)),
        ("POST", "/v1/classify", door.told("Classify", classify)),
        ("POST", "/v1/captions", door.told("Caption", caption)),
        ("POST", "/v1/match", door.told("Match", match)),
        ("POST", "/v1/segment", door.told("Segment", segment)),
        ("POST", "/v1/rerank", door.told("Rerank", rerank)),
        ("GET", "/v1/collections", door.asked("ListCollections", collections)),
        ("GET", "/v1/models", door.asked("GetInfo", models)),
        ("GET", "/v1/pictures/{collection}/{id:path}", door.asked("GetPoints", picture)),
        ("GET", "/metrics", door.asked("GetInfo", metrics)),
    ]


async def _refused(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    return problem(error.status_code, error.detail, code=code, headers=dict(error.headers or {}))


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await app(scope, receive, send_with_headers)

    return answer
