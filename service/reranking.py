"""Puts the first hits of a search in a new order, by looking at their pictures together with the text."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .checks import blame
from .describing import Describer
from .errors import InvalidField
from .originals import Originals
from .records import Hit, MixtureQuery, Query, SearchResult, TextQuery
from .settings import Limits
from .stopwatch import Stopwatch
from .threads import Threads


class Reranker:
    """Compares the pictures that `originals` knows of hits with what was searched for."""

    def __init__(self, describer: Describer, originals: Originals, disk: Threads, limits: Limits) -> None:
        self._describer, self._originals, self._disk, self._limits = describer, originals, disk, limits

    def check(self, query: Query, first: int, text: str) -> str:
        """What to compare the pictures of `first` hits with: the text, or else the only one in the query."""
        if not 1 <= first <= self._limits.max_pairs:
            raise InvalidField("first", f"{first} is not from 1 to {self._limits.max_pairs}")
        if text:
            return text
        parts = [part for part, _ in query.parts] if isinstance(query, MixtureQuery) else [query]
        texts = [part.text for part in parts if isinstance(part, TextQuery)]
        if len(texts) != 1:
            raise InvalidField("text", f"the query has {len(texts)} texts: say what to compare pictures with")
        return texts[0]

    async def rerank(
        self, found: SearchResult, k: int, first: int, text: str, watch: Stopwatch
    ) -> SearchResult:
        """The `k` best: of the first hits those with a picture by their match, then the others in order."""
        files = await self._disk.run(self._files, found.collection, found.hits[:first])
        pictures = {i: file for i, file in enumerate(files) if file is not None}
        with blame("text"):
            matched = await self._describer.match(list(pictures.values()), [text], watch)
        match = {
            i: float(one[0])
            for i, one in zip(pictures, matched.probabilities, strict=True)
            if one is not None
        }
        order = sorted(match, key=lambda i: (-match[i], i))
        order += [i for i in range(len(found.hits)) if i not in match]
        hits = [replace(found.hits[i], match=match.get(i)) for i in order[:k]]
        truncated = found.truncated or matched.truncated
        return replace(found, hits=hits, truncated=truncated, timings=watch.read(), looked_at=len(match))

    def _files(self, collection: str, hits: Sequence[Hit]) -> list[Path | None]:
        return [self._originals.file(collection, hit.id, hit.metadata) for hit in hits]
