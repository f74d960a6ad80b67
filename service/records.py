"""What the engine and the clients take and give. D = dimensions of the model's vectors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..clip.evaluation.ranking import LabelScore
from .settings import Limits

Vector = NDArray[np.float32]
Metadata = Mapping[str, Any]
Out = TypeVar("Out")


class Encoder(Protocol):
    """What the engine asks of a model; `polylens.clip.Encoder` is one."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def logit_scale(self) -> float: ...
    @property
    def max_text_tokens(self) -> int: ...
    def prepare_image(self, image: Any, /) -> Any: ...
    def prepare_text(self, text: str, /) -> Any: ...
    def text_truncated(self, text: str, /) -> bool: ...
    def embed_pixels(self, pixels: Any, /) -> Vector: ...
    def embed_ids(self, ids: Any, /) -> Vector: ...


@dataclass(frozen=True, slots=True)
class TextQuery:
    text: str


@dataclass(frozen=True, slots=True)
class ImageQuery:
    image: bytes


@dataclass(frozen=True, slots=True)
class IdQuery:
    id: str


@dataclass(frozen=True, slots=True)
class VectorQuery:
    vector_D: Vector


PlainQuery = TextQuery | ImageQuery | IdQuery | VectorQuery


@dataclass(frozen=True, slots=True)
class MixtureQuery:
    """The weighted sum of the unit vectors of its parts, at unit length; a weight may be below zero."""

    parts: Sequence[tuple[PlainQuery, float]]


Query = PlainQuery | MixtureQuery


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard a search tries where there is an index; None leaves a number as the index was tuned."""

    exact: bool = False
    nprobe: int | None = None
    ef_search: int | None = None


@dataclass(frozen=True, slots=True)
class Manner:
    """How to search: with a threshold exactly, for all of that score; else with effort and diversity."""

    effort: Effort = Effort()
    diversity: float = 0.0
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Sought:
    """What a query became: a unit vector (D,), whether a text was cut, the ids to leave out of the hits."""

    vector_D: Vector
    truncated: bool = False
    itself: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Point:
    """What to store under an id: a vector (D,), or an encoded picture that gives one.

    `if_version` is the version that the stored point must have, 0 if there must be none.
    """

    id: str
    content: bytes | Vector
    metadata: Metadata = field(default_factory=dict)
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A stored point; its unit vector (D,) float32 only if asked for. Every write gives a higher version."""

    id: str
    metadata: Metadata
    vector_D: Vector | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some points of a collection; `next` leads to the next page, and is 0 on the last."""

    points: Sequence[StoredPoint]
    next: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed entry of a batch: its position, the gRPC status code as a number, the reason."""

    index: int
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds in each stage; of a batch, those of its slowest entry."""

    prepare_ms: float = 0.0
    queue_ms: float = 0.0
    encode_ms: float = 0.0
    store_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Done(Generic[Out]):
    """What an entry gave, with the seconds it spent being prepared, waiting and running."""

    value: Out
    prepare: float
    queue: float
    run: float


@dataclass(frozen=True, slots=True)
class Embedding:
    """A unit vector (D,) float32, and whether the text was longer than the model reads."""

    vector_D: Vector
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Embedded:
    """An embedding for each entry, in order, or None where `errors` has the entry's error."""

    embeddings: Sequence[Embedding | None]
    errors: Mapping[int, Exception]
    timings: Timings


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored point and the cosine of its vector with the query's, in [-1, 1].

    `match`, of reranked hits whose picture was looked at, is how probable it is that picture and text belong
    together.
    """

    id: str
    score: float
    metadata: Metadata
    match: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits, best first, and where and with which model they were found.

    `looked_at` is how many pictures a reranking compared with the text.
    """

    hits: Sequence[Hit]
    collection: str
    fingerprint: str
    truncated: bool = False
    timings: Timings = Timings()
    looked_at: int = 0

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: int) -> Hit:
        return self.hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of one query of a batch, best first."""

    hits: Sequence[Hit]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """An answer to each query, in order, or None where `errors` has the query's error."""

    answers: Sequence[Answer | None]
    errors: Mapping[int, Exception]
    collection: str
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class Classified:
    """Labels of each image, best first, or None where `errors` has the image's error."""

    labels: Sequence[Sequence[LabelScore] | None]
    errors: Mapping[int, Exception]
    truncated: bool = False
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class Wording:
    """How captions are written: what they go on from, how many are weighed, how many tokens they have."""

    prompt: str = ""
    beams: int = 5
    least: int = 8
    most: int = 30


@dataclass(frozen=True, slots=True)
class Captioned:
    """A caption of each image, or None where `errors` has the image's error."""

    captions: Sequence[str | None]
    errors: Mapping[int, Exception]
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class Matched:
    """For each image how probable each text is, in order, or None where `errors` has the image's error."""

    probabilities: Sequence[Vector | None]
    errors: Mapping[int, Exception]
    truncated: bool = False
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class ClassShare:
    """How much of an image one class covers; `colour` is red * 65536 + green * 256 + blue."""

    index: int
    name: str
    share: float
    colour: int


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A PNG with palette whose values are classes, and the classes that occur, the largest first."""

    class_map: bytes
    width: int
    height: int
    shares: Sequence[ClassShare]


@dataclass(frozen=True, slots=True)
class Segmented:
    """A segmentation of each image, or None where `errors` has the image's error."""

    segmentations: Sequence[Segmentation | None]
    errors: Mapping[int, Exception]
    fingerprint: str
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class Upserted:
    """How many points were stored; `errors` has the errors of the others."""

    stored: int
    errors: Mapping[int, Exception]
    timings: Timings


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection: the dimensions and model of its vectors, how many it has, why it cannot be used if so."""

    name: str
    dim: int
    fingerprint: str
    count: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A file in the server's folder for snapshots: its name, its bytes, the points in it."""

    name: str
    size: int
    count: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model a server runs."""

    name: str
    fingerprint: str
    dim: int
    max_text_tokens: int
    logit_scale: float


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is and what it accepts."""

    version: str
    model: ModelInfo
    limits: Limits
    capabilities: Sequence[str] = ()
