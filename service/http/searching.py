"""`POST /v1/search`, `POST /v1/rerank`, `POST /v1/classify`, `GET /v1/collections` and `GET /v1/models`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from ..engine import Engine
from ..errors import InvalidField
from ..records import Hit, Manner, Metadata, Query, SearchResult
from .bodies import PLAIN, Body, images_of, manner_of, only, query_of, text_of, texts_of, whole
from .embeddings import public_name
from .gallery import Gallery
from .replies import reply

DEFAULT_K, DEFAULT_FIRST = 10, 50


@dataclass(frozen=True)
class Asked:
    """What the body of a search says."""

    collection: str
    query: Query
    k: int
    condition: Metadata | None
    manner: Manner


def asked(body: Body, *more: str) -> Asked:
    """What is searched for; `more` are names that the body may have besides."""
    only(body, *PLAIN, "mixture", "k", "collection", "filter", "effort", "diversity", "threshold", *more)
    condition = body.get("filter")
    if not isinstance(condition, Mapping | None):
        raise InvalidField("filter", "expected an object")
    collection = text_of(body.get("collection") or "", "collection")
    return Asked(collection, query_of(body), whole(body, "k", DEFAULT_K), condition, manner_of(body))


async def search(body: Body, engine: Engine, gallery: Gallery) -> Response:
    """The nearest stored points, best first."""
    it = asked(body)
    found = await engine.search(it.collection, it.query, it.k, it.condition, it.manner)
    return await _told(found, engine, gallery)


async def rerank(body: Body, engine: Engine, gallery: Gallery) -> Response:
    """The nearest stored points, the first of them by how well their pictures fit the text."""
    it = asked(body, "first", "match_text")
    text = text_of(body.get("match_text") or "", "match_text")
    first = whole(body, "first", DEFAULT_FIRST)
    found = await engine.rerank(
        it.collection, it.query, it.k, it.condition, it.manner, first=first, text=text
    )
    return await _told(found, engine, gallery, looked_at=found.looked_at)


async def _told(found: SearchResult, engine: Engine, gallery: Gallery, **more: Any) -> Response:
    shown = await gallery.known(found.collection, found.hits)
    content = {
        "collection": found.collection,
        "hits": [
            _hit(hit, found.collection, picture) for hit, picture in zip(found.hits, shown, strict=True)
        ],
        "truncated": found.truncated,
        "model": public_name(engine.encoder.name),
        "fingerprint": found.fingerprint,
        "timings": asdict(found.timings),
    }
    return await reply(content | more, len(found.hits))


async def classify(body: Body, engine: Engine) -> Response:
    """How probable each label is for each image; the first bad image refuses the request."""
    only(body, "images", "labels", "templates", "top", "probe")
    images, labels = images_of(body), texts_of(body, "labels")
    templates = texts_of(body, "templates")
    top = whole(body, "top", 0)
    if top < 0:
        raise InvalidField("top", f"{top} is below 0")
    probe = text_of(body.get("probe") or "", "probe")
    found = await engine.classify(images, labels, templates, top, probe)
    for error in found.errors.values():
        raise error
    told = [[asdict(score) for score in one or ()] for one in found.labels]
    content = {"classifications": told, "truncated": found.truncated, "timings": asdict(found.timings)}
    return await reply(content, sum(map(len, told)))


async def collections(engine: Engine) -> Response:
    """All collections by name."""
    return await reply({"collections": [asdict(one) for one in await engine.collections()]})


async def models(engine: Engine) -> Response:
    """The one model, as OpenAI's clients list them."""
    about = {"object": "model", "created": 0, "owned_by": "polylens"}
    capabilities = list(engine.capabilities.names)
    model = {"id": public_name(engine.encoder.name), **about, "capabilities": capabilities}
    return await reply({"object": "list", "data": [model]})


def picture_path(collection: str, id: str) -> str:
    """Where the picture of a point is served."""
    return f"/v1/pictures/{quote(collection, safe='')}/{quote(id, safe='')}"


def _hit(hit: Hit, collection: str, shown: bool) -> dict[str, Any]:
    picture = picture_path(collection, hit.id) if shown else None
    match = {} if hit.match is None else {"match": hit.match}
    return {"id": hit.id, "score": hit.score, **match, "metadata": hit.metadata, "picture": picture}
