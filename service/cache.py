"""Remembers the vectors of texts that were asked for lately."""

from .records import Embedding

OVERHEAD = 400  # bytes of the objects around a text and its vector


class TextCache:
    """At most `limit` bytes; the text that was not asked for the longest leaves first.

    A key has the model's fingerprint in it, so that no vector is ever taken for one of another model.
    """

    def __init__(self, limit: int, fingerprint: str) -> None:
        self._limit, self._fingerprint = limit, fingerprint
        self._kept: dict[tuple[str, str], Embedding] = {}
        self.hits = self.misses = self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, text: str) -> Embedding | None:
        """The embedding of this very text, if it is still there."""
        key = (self._fingerprint, text)
        found = self._kept.pop(key, None)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept[key] = found
        return found

    def put(self, text: str, embedding: Embedding) -> None:
        """Keeps it, and lets others go."""
        key = (self._fingerprint, text)
        if (size := _size(text, embedding)) > self._limit or key in self._kept:
            return
        vector_D = embedding.vector_D.copy()  # a row would keep its whole batch in memory
        vector_D.flags.writeable = False
        self._kept[key] = Embedding(vector_D, embedding.truncated)
        self.bytes += size
        while self.bytes > self._limit:
            oldest = next(iter(self._kept))
            self.bytes -= _size(oldest[1], self._kept.pop(oldest))


def _size(text: str, embedding: Embedding) -> int:
    return len(text.encode()) + embedding.vector_D.nbytes + OVERHEAD
