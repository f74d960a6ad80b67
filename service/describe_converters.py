"""Pure conversions between messages and records of captions, matches and reranked hits; see converters.py.

N = images, T = texts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ..proto.polylens.v1 import describe_pb2
from .converters import common_fields, search_result_from_proto
from .records import SearchResult, Vector, Wording


def wording_to_request(images: Sequence[bytes], wording: Wording) -> describe_pb2.CaptionRequest:
    return describe_pb2.CaptionRequest(
        images=images,
        prompt=wording.prompt,
        beams=wording.beams,
        min_tokens=wording.least,
        max_tokens=wording.most,
    )


def wording_from_request(message: describe_pb2.CaptionRequest) -> Wording:
    usual = Wording()
    return Wording(
        message.prompt,
        message.beams or usual.beams,
        message.min_tokens
        if message.HasField("min_tokens")
        else min(usual.least, message.max_tokens or usual.most),
        message.max_tokens or usual.most,
    )


def matches_to_proto(probabilities: Iterable[Vector | None]) -> list[describe_pb2.Matches]:
    return [describe_pb2.Matches(probabilities=() if one is None else one.tolist()) for one in probabilities]


def matches_from_proto(messages: Iterable[describe_pb2.Matches]) -> list[Vector | None]:
    return [np.array(one.probabilities, np.float32) if one.probabilities else None for one in messages]


def reranked_to_proto(result: SearchResult) -> describe_pb2.RerankResponse:
    return describe_pb2.RerankResponse(**common_fields(result), looked_at=result.looked_at)


def reranked_from_proto(message: describe_pb2.RerankResponse) -> SearchResult:
    return replace(search_result_from_proto(message), looked_at=message.looked_at)
