"""The OpenAPI document, written by hand: what each route takes and gives, with examples."""

from typing import Any

from ... import __version__
from ..settings import Limits

PIXEL = "data:image/png;base64,iVBORw0KGgo…"
QUERY = {
    "text": {"type": "string", "description": "Words in any language."},
    "image": {"type": "string", "description": "A picture as data:image/…;base64,… or plain base64."},
    "id": {"type": "string", "description": "A stored point, which is left out of the hits."},
    "vector": {"type": "array", "items": {"type": "number"}, "description": "A vector of this model."},
}
ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}


def document(limits: Limits) -> dict[str, Any]:
    """The document as a JSON object."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "polylens",
            "version": __version__,
            "description": "Search images with words of any language. Errors have the form of OpenAI's API; "
            "429 and 503 say in retry-after when to come back.",
        },
        "paths": {
            "/v1/embeddings": {"post": _embeddings(limits)},
            "/v1/search": {"post": _search(limits)},
            "/v1/classify": {"post": _classify(limits)},
            "/v1/captions": {"post": _captions(limits)},
            "/v1/match": {"post": _match(limits)},
            "/v1/segment": {"post": _segment(limits)},
            "/v1/rerank": {"post": _rerank(limits)},
            "/v1/collections": {"get": _plain("All collections: name, dim, fingerprint, count, problem.")},
            "/v1/models": {"get": _plain("The model, as OpenAI's clients list it.")},
            "/v1/pictures/{collection}/{id}": {"get": _picture()},
            "/metrics": {"get": _plain("Metrics in the text format of Prometheus.")},
            "/healthz": {"get": _plain("200 while the process answers.", secured=False)},
            "/readyz": {"get": _plain("200 while requests come through, else 503.", secured=False)},
            "/openapi.json": {"get": _plain("This document.", secured=False)},
        },
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _embeddings(limits: Limits) -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": PIXEL}}
    return _posted(
        "A unit vector for each text or picture, in order, as OpenAI's API has it. At most "
        f"{limits.max_items} inputs; the first bad one refuses the request. Token counts are always 0.",
        {
            "input": {"description": "A text, a data URI, a part, or a list of these."},
            "messages": {"type": "array", "description": "Instead of input: one message with one part."},
            "model": {"type": "string", "description": "May be left out; else the model's own name."},
            "modality": {"enum": ["text", "image"], "description": "How to read plain strings."},
            "encoding_format": {"enum": ["float", "base64"], "default": "float"},
            "dimensions": {"type": "integer", "description": "No other than the model's own."},
            "user": {"type": "string", "description": "Ignored."},
        },
        {
            "Texts": {"input": ["a sleeping cat", "两只猫"], "encoding_format": "base64"},
            "Pictures, as parts": {"input": [part]},
            "Pictures, by modality": {"input": [PIXEL], "modality": "image"},
        },
    )


def _search(limits: Limits) -> dict[str, Any]:
    return _posted(
        "The stored points nearest to one of text, image, id, vector and mixture, best first.",
        _searched(limits),
        {
            "Words": {"text": "kikombe cha chai", "k": 5},
            "This picture, but at night": {
                "mixture": [{"image": PIXEL}, {"text": "at night", "weight": 0.7}],
                "filter": {"year": {"$gte": 2024}},
            },
            "More like this": {"id": "2024/cat.jpg", "collection": "photos"},
        },
    )


def _searched(limits: Limits) -> dict[str, Any]:
    weighted = {"type": "object", "properties": {**QUERY, "weight": {"type": "number", "default": 1}}}
    return {
        **QUERY,
        "mixture": {
            "type": "array",
            "items": weighted,
            "maxItems": limits.max_parts,
            "description": "Several at once; a weight below zero leads away.",
        },
        "k": {"type": "integer", "minimum": 1, "maximum": limits.max_k, "default": 10},
        "collection": {"type": "string", "description": "May be left out if there is only one."},
        "filter": {"type": "object", "description": "A condition on the metadata, as MongoDB has it."},
        "diversity": {"type": "number", "description": "0 to 1: hits like those before stand back."},
        "threshold": {
            "type": "number",
            "description": "Only hits of at least this score, found exactly.",
        },
        "effort": {"type": "object", "description": "exact, nprobe, ef_search: how hard to try."},
    }


def _rerank(limits: Limits) -> dict[str, Any]:
    return _posted(
        "A search whose first hits are put in a new order by how well their pictures fit the text. Needs "
        "InternVL-G, and pictures that the server has.",
        {
            **_searched(limits),
            "first": {"type": "integer", "minimum": 1, "maximum": limits.max_pairs, "default": 50},
            "match_text": {"type": "string", "description": "Instead of the query's text."},
        },
        {"Words": {"text": "two cats, one of them asleep", "k": 10, "first": 100}},
    )


def _captions(limits: Limits) -> dict[str, Any]:
    return _posted(
        "A sentence about each picture. Needs InternVL-G.",
        {
            "images": {"type": "array", "items": QUERY["image"], "maxItems": limits.max_items},
            "prompt": {"type": "string", "default": "English caption:"},
            "beams": {"type": "integer", "default": 5, "description": "Sentences weighed; 1 is greedy."},
            "min_tokens": {"type": "integer", "default": 8},
            "max_tokens": {"type": "integer", "default": 30},
        },
        {"A picture": {"images": [PIXEL]}},
    )


def _match(limits: Limits) -> dict[str, Any]:
    return _posted(
        "How probable it is that each picture and each text belong together: a row for each picture. At most "
        f"{limits.max_pairs} pairs. Needs InternVL-G.",
        {
            "images": {"type": "array", "items": QUERY["image"]},
            "texts": {"type": "array", "items": {"type": "string"}},
        },
        {"A picture": {"images": [PIXEL], "texts": ["a sleeping cat", "两只猫"]}},
    )


def _segment(limits: Limits) -> dict[str, Any]:
    return _posted(
        "A map of the classes of each picture, a PNG as data:image/png;base64,… whose palette has the "
        "colours, and the share of each class, the largest first. Needs a segmentation model: polylens serve "
        "--segment.",
        {"images": {"type": "array", "items": QUERY["image"], "maxItems": limits.max_items}},
        {"A picture": {"images": [PIXEL]}},
    )


def _classify(limits: Limits) -> dict[str, Any]:
    texts = {"type": "array", "items": {"type": "string"}}
    return _posted(
        "How probable each label is for each picture, best first. Labels times templates may be at most "
        f"{limits.max_sentences}.",
        {
            "images": {"type": "array", "items": QUERY["image"]},
            "labels": texts,
            "templates": {**texts, "description": "Sentences with {} where the label goes."},
            "top": {"type": "integer", "default": 0, "description": "Labels to tell of each; 0 means all."},
            "probe": {"type": "string", "description": "A trained probe by name, instead of labels."},
        },
        {"Labels": {"images": [PIXEL], "labels": ["cat", "狗", "ndege"], "templates": ["a photo of {}"]}},
    )


def _picture() -> dict[str, Any]:
    names = ("collection", "id")
    parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]
    return _plain("A small WebP of a stored point, where the server may show it.") | {
        "parameters": parameters
    }


def _posted(summary: str, properties: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    media = {
        "schema": {"type": "object", "additionalProperties": False, "properties": properties},
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    body = {"required": True, "content": {"application/json": media}}
    return _plain(summary) | {"requestBody": body}


def _plain(summary: str, *, secured: bool = True) -> dict[str, Any]:
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses = {"200": {"description": "Done."}, "default": {"description": "Refused.", "content": refused}}
    return {"summary": summary, "responses": responses, "security": [{"token": []}] if secured else []}
