"""What the clients ask of models that read images and texts together; see calls.py.

N = images, T = texts.
"""

from collections.abc import Sequence

import numpy as np

from ..errors import InvalidInput
from ..proto.polylens.v1 import describe_pb2
from . import describe_converters as described
from .calls import Call
from .chunks import LIMITS, Book, Picture
from .records import Vector, Wording

USUAL = Wording()


def caption(
    images: Sequence[Picture],
    *,
    prompt: str = USUAL.prompt,
    beams: int = USUAL.beams,
    min_tokens: int = USUAL.least,
    max_tokens: int = USUAL.most,
) -> Call[list[str]]:
    """A sentence about each image; raises `BatchError` if some image has none.

    `prompt` is what the sentence goes on from, "English caption:" if empty; `beams` how many are weighed
    against each other. The server must run InternVL-G.
    """
    book, wording = Book(len(images)), Wording(prompt, beams, min_tokens, max_tokens)
    requests = (
        described.wording_to_request(chunk, wording) for chunk in book.chunks(book.pictures(images), most=16)
    )
    return Call("Caption", requests, lambda replies: book.results(replies, lambda r: r.captions))


def match(images: Sequence[Picture], texts: Sequence[str]) -> Call[Vector]:
    """(N, T) float32: how probable it is that each image and each text belong together.

    Raises `BatchError` if some image could not be compared. The server must run InternVL-G.
    """
    if len(texts) > LIMITS.max_pairs:
        raise InvalidInput(f"{len(texts)} texts; at most {LIMITS.max_pairs} can be compared with an image")
    book = Book(len(images))
    most = min(16, LIMITS.max_pairs // max(1, len(texts)))
    requests = (
        describe_pb2.MatchRequest(images=chunk, texts=texts)
        for chunk in book.chunks(book.pictures(images), most=most)
    )
    blank_T = np.full(len(texts), np.nan, np.float32)

    def rows(reply: describe_pb2.MatchResponse) -> list[Vector]:
        return [blank_T if one is None else one for one in described.matches_from_proto(reply.matches)]

    def read(replies: Sequence[describe_pb2.MatchResponse]) -> Vector:
        return np.array(book.results(replies, rows), np.float32).reshape(len(images), len(texts))

    return Call("Match", requests, read)
