"""From queries to unit vectors. Whatever several queries and the parts of mixtures need is embedded together.

D = dimensions of the model's vectors, P = parts of a mixture.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..errors import InvalidInput, PolylensError
from ..index.interface import AnyCollection
from . import shelf
from .checks import SHORTEST, blame, check_count, check_id, check_image, check_text, unit_vector
from .embedder import Embedder
from .errors import InvalidField
from .records import (
    Embedded,
    Embedding,
    IdQuery,
    ImageQuery,
    MixtureQuery,
    PlainQuery,
    Query,
    Sought,
    TextQuery,
    Vector,
    VectorQuery,
)
from .settings import Limits
from .stopwatch import Stopwatch
from .threads import Threads
from .together import together

MAX_WEIGHT = 100.0
Asked = Query | PolylensError
Raw = TypeVar("Raw")


@dataclass(eq=False, slots=True)
class _Part:
    """A plain query by its place in the request, its weight, and what became of it."""

    field: str
    weight: float
    id: str = ""
    found: Embedding | Exception | None = None


class Queries:
    """Looks ids up in the collection that is searched, and embeds texts and pictures."""

    def __init__(self, embedder: Embedder, disk: Threads, dim: int, limits: Limits) -> None:
        self._embedder, self._disk, self._dim, self._limits = embedder, disk, dim, limits

    async def find(self, target: AnyCollection, query: Query, watch: Stopwatch) -> Sought:
        """What to search for; raises the error of the query."""
        (found,) = await self._find(target, {"query": query}, watch)
        if isinstance(found, Exception):
            raise found
        return found

    async def find_all(
        self, target: AnyCollection, queries: Sequence[Asked], watch: Stopwatch
    ) -> list[Sought | Exception]:
        """What to search for or an error, for each query; an error in place of one is handed through."""
        return await self._find(target, {f"queries[{i}]": one for i, one in enumerate(queries)}, watch)

    async def _find(
        self, target: AnyCollection, queries: Mapping[str, Asked], watch: Stopwatch
    ) -> list[Sought | Exception]:
        work = _Work(self._dim, self._limits)
        split = {field: work.split(field, query) for field, query in queries.items()}
        check_count(work.count, "queries", self._limits)
        await together(
            _embed(work.texts, lambda texts: self._embedder.texts(texts, watch)),
            _embed(work.images, lambda images: self._embedder.images(images, watch)),
            self._look_up(target, work.ids, watch),
        )
        return [one if isinstance(one, Exception) else _joined(field, one) for field, one in split.items()]

    async def _look_up(self, target: AnyCollection, ids: Mapping[_Part, str], watch: Stopwatch) -> None:
        if not ids:
            return
        with watch.store():
            vectors = await self._disk.run(shelf.vectors_of, target, list(ids.values()))
        for part, vector in zip(ids, vectors, strict=True):
            part.found = vector if isinstance(vector, Exception) else Embedding(vector)


class _Work:
    """Collects what has to be embedded and looked up."""

    def __init__(self, dim: int, limits: Limits) -> None:
        self._dim, self._limits = dim, limits
        self.texts: dict[_Part, str] = {}
        self.images: dict[_Part, bytes] = {}
        self.ids: dict[_Part, str] = {}
        self.count = 0

    def split(self, field: str, query: Asked) -> list[_Part] | PolylensError:
        """The parts of the query, or its error."""
        try:
            if isinstance(query, PolylensError):
                return query
            if not isinstance(query, MixtureQuery):
                return [self._part(field, query, 1.0)]
            with blame(f"{field}.mixture"):
                self._check(query)
            return [
                self._part(f"{field}.mixture.parts[{i}].query", part, weight)
                for i, (part, weight) in enumerate(query.parts)
            ]
        except PolylensError as error:
            return error

    def _check(self, mixture: MixtureQuery) -> None:
        most = self._limits.max_parts
        if not 1 <= len(mixture.parts) <= most:
            raise InvalidInput(f"{len(mixture.parts)} parts, expected 1 to {most}")
        for _, weight in mixture.parts:
            if not abs(weight) <= MAX_WEIGHT:  # false for NaN as well
                raise InvalidInput(f"a weight is {weight:g}, expected -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}")

    def _part(self, field: str, query: PlainQuery, weight: float) -> _Part:
        self.count += 1
        match query:
            case TextQuery(text):
                part = _Part(f"{field}.text", weight)
                with blame(part.field):
                    self.texts[part] = check_text(text, self._limits)
            case ImageQuery(image):
                part = _Part(f"{field}.image", weight)
                with blame(part.field):
                    self.images[part] = check_image(image, self._limits)
            case IdQuery(id):
                part = _Part(f"{field}.id", weight, id)
                with blame(part.field):
                    self.ids[part] = check_id(id, self._limits)
            case VectorQuery(vector_D):
                part = _Part(f"{field}.vector", weight)
                with blame(part.field):
                    part.found = Embedding(unit_vector(vector_D, self._dim))
        return part


async def _embed(work: Mapping[_Part, Raw], embed: Callable[[list[Raw]], Awaitable[Embedded]]) -> None:
    if not work:
        return
    embedded = await embed(list(work.values()))
    for i, (part, embedding) in enumerate(zip(work, embedded.embeddings, strict=True)):
        error = embedded.errors.get(i)
        if isinstance(error, InvalidInput) and not isinstance(error, InvalidField):
            error = InvalidField(part.field, str(error))
        part.found = embedding or error


def _joined(field: str, parts: Sequence[_Part]) -> Sought | Exception:
    """The weighted sum of the parts at unit length, or the error of the first part that has one."""
    found = []
    for part in parts:
        if not isinstance(part.found, Embedding):
            return part.found or RuntimeError(f"{part.field} was not embedded")
        found.append(part.found)
    vector_D: Vector | None = found[0].vector_D
    if [part.weight for part in parts] != [1.0]:  # a query alone keeps every bit of its vector
        vector_D = _mixed([one.vector_D for one in found], [part.weight for part in parts])
    if vector_D is None:
        return InvalidField(f"{field}.mixture", "the parts cancel each other out")
    ids = frozenset(part.id for part in parts if part.id)
    return Sought(vector_D, any(one.truncated for one in found), ids)


def _mixed(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector | None:
    """The weighted sum (D,) float32 at unit length; None if next to nothing is left of it."""
    sum_D = np.array(weights) @ np.stack(vectors).astype(np.float64)
    length = float(np.linalg.norm(sum_D))
    if length <= SHORTEST * float(np.abs(weights).sum()):
        return None
    mixed_D: Vector = (sum_D / length).astype(np.float32)
    return mixed_D
