"""The gallery as a collection: embedded once, and again only what is missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ..index.collection import Collection
from ..index.store import Store
from .embedding import BATCH, Embeds, embed_pictures
from .openmoji import Drawing

COLLECTION = "openmoji"
COLLECTION_OF_ALL = "openmoji-all"


class Model(Embeds, Protocol):
    """An encoder that says how wide its vectors are and which model makes them."""

    @property
    def dim(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...


def fill(
    store: Store, name: str, encoder: Model, gallery: Sequence[Drawing], files: Mapping[str, Path]
) -> Collection:
    """The collection `name` with every drawing of the gallery in it, under the drawing's key.

    An interrupted run goes on where it stopped, and what a person added to the collection stays. One that
    another model filled is refused.
    """
    collection = store.create(name, dim=encoder.dim, fingerprint=encoder.fingerprint, exist_ok=True)
    stored = collection.get([drawing.key for drawing in gallery], vectors=False)
    missing = [drawing for drawing, record in zip(gallery, stored, strict=True) if record is None]
    if not missing:
        return collection
    vectors = embed_pictures(encoder, [files[drawing.key] for drawing in missing])
    for start, vectors_ND in zip(range(0, len(missing), BATCH), vectors, strict=True):
        part = missing[start : start + BATCH]
        collection.upsert(
            [drawing.key for drawing in part],
            vectors_ND,
            [{"name": drawing.name, "emoji": drawing.emoji} for drawing in part],
        )
    return collection
