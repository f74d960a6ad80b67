"""`POST /v1/segment`; the first bad picture refuses the request."""

import base64
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from ..engine import Engine
from ..records import Segmentation
from .bodies import Body, images_of, only
from .replies import BIG, reply


async def segment(body: Body, engine: Engine) -> Response:
    """A map of the classes of each picture, and the share of each class."""
    only(body, "images")
    found = await engine.segment(images_of(body))
    for error in found.errors.values():
        raise error
    content = {
        "segmentations": [_told(one) for one in found.segmentations if one is not None],
        "fingerprint": found.fingerprint,
        "timings": asdict(found.timings),
    }
    return await reply(content, BIG)


def _told(one: Segmentation) -> dict[str, Any]:
    uri = "data:image/png;base64," + base64.b64encode(one.class_map).decode()
    shares = [asdict(share) | {"colour": f"#{share.colour:06x}"} for share in one.shares]
    return {"class_map": uri, "width": one.width, "height": one.height, "shares": shares}
