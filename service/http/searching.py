"""`POST /v1/search`, `POST /v1/classify`, `GET /v1/collections` and `GET /v1/models`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from ..engine import Engine
from ..errors import InvalidField
from ..records import Hit
from .bodies import PLAIN, Body, image_of, manner_of, only, query_of, text_of, whole
from .embeddings import public_name
from .gallery import Gallery
from .replies import reply

DEFAULT_K = 10


async def search(body: Body, engine: Engine, gallery: Gallery) -> Response:
    """The nearest stored points, best first."""
    only(body, *PLAIN, "mixture", "k", "collection", "filter", "effort", "diversity", "threshold")
    condition = body.get("filter")
    if not isinstance(condition, Mapping | None):
        raise InvalidField("filter", "expected an object")
    collection = text_of(body.get("collection") or "", "collection")
    k = whole(body, "k", DEFAULT_K)
    found = await engine.search(collection, query_of(body), k, condition, manner_of(body))
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
    return await reply(content, len(found.hits))


async def classify(body: Body, engine: Engine) -> Response:
    """How probable each label is for each image; the first bad image refuses the request."""
    only(body, "images", "labels", "templates", "top")
    lists = {name: body.get(name) or [] for name in ("images", "labels", "templates")}
    for name, value in lists.items():
        if not isinstance(value, list):
            raise InvalidField(name, "expected a list")
    images = [image_of(one, f"images[{i}]") for i, one in enumerate(lists["images"])]
    labels = [text_of(one, f"labels[{i}]") for i, one in enumerate(lists["labels"])]
    templates = [text_of(one, f"templates[{i}]") for i, one in enumerate(lists["templates"])]
    top = whole(body, "top", 0)
    if top < 0:
        raise InvalidField("top", f"{top} is below 0")
    found = await engine.classify(images, labels, templates, top)
    for error in found.errors.values():
        raise error
    told = [[asdict(score) for score in one or ()] for one in found.labels]
    content = {"classifications": told, "truncated": found.truncated, "timings": asdict(found.timings)}
    return await reply(content, len(images) * len(labels))


async def collections(engine: Engine) -> Response:
    """All collections by name."""
    return await reply({"collections": [asdict(one) for one in await engine.collections()]})


async def models(engine: Engine) -> Response:
    """The one model, as OpenAI's clients list them."""
    model = {"id": public_name(engine.encoder.name), "object": "model", "created": 0, "owned_by": "polylens"}
    return await reply({"object": "list", "data": [model]})


def picture_path(collection: str, id: str) -> str:
    """Where the picture of a point is served."""
    return f"/v1/pictures/{quote(collection, safe='')}/{quote(id, safe='')}"


def _hit(hit: Hit, collection: str, shown: bool) -> dict[str, Any]:
    picture = picture_path(collection, hit.id) if shown else None
    return {"id": hit.id, "score": hit.score, "metadata": hit.metadata, "picture": picture}
