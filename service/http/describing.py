"""`POST /v1/captions` and `POST /v1/match`; the first bad picture refuses the request."""

from dataclasses import asdict

from starlette.responses import Response

from ..engine import Engine
from ..records import Wording
from .bodies import Body, images_of, only, text_of, texts_of, whole
from .replies import reply


async def captions(body: Body, engine: Engine) -> Response:
    """A sentence about each picture."""
    only(body, "images", "prompt", "beams", "min_tokens", "max_tokens")
    usual = Wording()
    most = whole(body, "max_tokens", usual.most)
    wording = Wording(
        text_of(body.get("prompt") or "", "prompt"),
        whole(body, "beams", usual.beams),
        whole(body, "min_tokens", min(usual.least, most)),
        most,
    )
    found = await engine.caption(images_of(body), wording)
    for error in found.errors.values():
        raise error
    return await reply({"captions": list(found.captions), "timings": asdict(found.timings)})


async def match(body: Body, engine: Engine) -> Response:
    """How probable it is that each picture and each text belong together."""
    only(body, "images", "texts")
    found = await engine.match(images_of(body), texts_of(body, "texts"))
    for error in found.errors.values():
        raise error
    told = [one.tolist() for one in found.probabilities if one is not None]
    content = {"matches": told, "truncated": found.truncated, "timings": asdict(found.timings)}
    return await reply(content)
