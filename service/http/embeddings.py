"""`POST /v1/embeddings`, as OpenAI's clients ask it; pictures come as data URIs."""

import base64
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from starlette.responses import Response

from ...errors import InvalidInput
from ..encoding import vector_to_bytes
from ..engine import Engine
from ..errors import InvalidField
from ..records import Embedded, Vector
from ..together import together
from .bodies import Body, image_of, is_data_uri, only, text_of
from .replies import problem, reply

FORMATS = ("float", "base64")
MODALITIES = ("text", "image")
Entry = str | bytes  # a text or a picture


async def embeddings(body: Body, engine: Engine) -> Response:
    """A vector for each input, in order; the first bad one refuses the request."""
    only(body, "input", "messages", "model", "modality", "encoding_format", "dimensions", "user")
    dim, name = engine.encoder.dim, public_name(engine.encoder.name)
    if body.get("model") not in (None, "", name):
        return problem(404, f"this server runs the model {name!r}", param="model", code="model_not_found")
    if body.get("dimensions") not in (None, dim):
        raise InvalidField("dimensions", f"the model's vectors have {dim}, and no other number")
    kind = _choice(body, "encoding_format", FORMATS)
    entries = _entries(body)
    texts = {i: one for i, one in enumerate(entries) if isinstance(one, str)}
    images = {i: one for i, one in enumerate(entries) if isinstance(one, bytes)}
    of_texts, of_images = await together(
        engine.embed_texts(list(texts.values())), engine.embed_images(list(images.values()))
    )
    vectors = _placed(texts, of_texts) | _placed(images, of_images)
    data = [
        {"object": "embedding", "index": i, "embedding": _written(vectors[i], kind)}
        for i in range(len(entries))
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}  # OpenAI's clients insist on it; tokens are not counted
    return await reply({"object": "list", "data": data, "model": name, "usage": usage}, len(data))


def public_name(name: str) -> str:
    """The model's name, without the folders of the server if it was loaded from one."""
    return PurePath(name).name if name.startswith(("/", ".", "~")) else name


def _entries(body: Body) -> list[Entry]:
    modality = _choice(body, "modality", MODALITIES) if body.get("modality") is not None else ""
    if ("input" in body) == ("messages" in body):
        raise InvalidField("input", "one of input and messages is needed")
    if "messages" in body:
        return [_of_messages(body["messages"])]
    given = body["input"]
    if not isinstance(given, list):
        return [_entry(given, "input", modality)]
    if not given:
        raise InvalidField("input", "the list is empty")
    return [_entry(one, f"input[{i}]", modality) for i, one in enumerate(given)]


def _entry(value: Any, field: str, modality: str) -> Entry:
    if isinstance(value, Mapping):
        return _part(value, field)
    if isinstance(value, int | list):
        raise InvalidField(field, "lists of token ids are not accepted, send the text")
    if modality == "image" or modality == "" and is_data_uri(value):
        return image_of(value, field)
    return text_of(value, field)


def _part(part: Mapping[str, Any], field: str) -> Entry:
    """The text or picture of {"text": …}, {"image": …} or {"image_url": {"url": …}}."""
    given = [name for name in ("text", "image", "image_url") if name in part]
    if len(given) != 1:
        raise InvalidField(field, f"expected one of text, image and image_url, got {given}")
    place = f"{field}.{given[0]}"
    return text_of(part["text"], place) if given == ["text"] else image_of(part[given[0]], place)


def _of_messages(messages: Any) -> Entry:
    """The one part of the one message: a model of two towers has no vector for a conversation."""
    content = None
    if isinstance(messages, list) and len(messages) == 1 and isinstance(messages[0], Mapping):
        content = messages[0].get("content")
    if isinstance(content, str):
        return text_of(content, "messages[0].content")
    if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], Mapping):
        raise InvalidField("messages", "expected one message with one part, a text or an image_url")
    return _part(content[0], "messages[0].content[0]")


def _choice(body: Body, field: str, choices: tuple[str, ...]) -> str:
    value = body.get(field)
    if value is None:
        return choices[0]
    if value not in choices:
        raise InvalidField(field, f"expected {' or '.join(choices)}")
    return str(value)


def _placed(entries: Mapping[int, Entry], embedded: Embedded) -> dict[int, Vector]:
    """The vector of each entry by its place in the request; raises the first error."""
    found = {}
    for i, (place, one) in enumerate(zip(entries, embedded.embeddings, strict=True)):
        if one is None:
            error = embedded.errors[i]
            raise InvalidField(f"input[{place}]", str(error)) if isinstance(error, InvalidInput) else error
        found[place] = one.vector_D
    return found


def _written(vector_D: Vector, kind: str) -> str | list[float]:
    return base64.b64encode(vector_to_bytes(vector_D)).decode() if kind == "base64" else vector_D.tolist()
