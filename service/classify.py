"""Zero-shot classification: which of some labels, given as words, fits a picture (Radford et al. 2021).

Legend: C = labels, T = templates, D = dimensions of the model's vectors, N = images.
"""

from collections.abc import Sequence

import numpy as np

from ..clip.evaluation.ranking import ranked
from ..clip.evaluation.zero_shot import class_vectors
from .checks import blame, check_count, check_text
from .embedder import Embedder
from .errors import InvalidField, TooLarge
from .records import Classified, Embedding
from .settings import Limits
from .stopwatch import Stopwatch
from .together import together

PLACE = "{}"


class Classifier:
    """Compares pictures with labels; `scale` turns cosines into logits."""

    def __init__(self, embedder: Embedder, scale: float, limits: Limits) -> None:
        self._embedder, self._scale, self._limits = embedder, scale, limits

    async def classify(
        self, images: Sequence[bytes], labels: Sequence[str], templates: Sequence[str], top: int
    ) -> Classified:
        """The `top` labels of each image (all if 0), best first, or its error."""
        watch = Stopwatch()
        check_count(len(images), "images", self._limits)
        self._check(labels, templates)
        sentences = [template.replace(PLACE, label) for label in labels for template in templates or [PLACE]]
        texts, pictures = await together(
            self._sentences(sentences, watch), self._embedder.images(images, watch)
        )
        texts_CTD = np.stack([one.vector_D for one in texts]).reshape(len(labels), -1, texts[0].vector_D.size)
        classes_CD = class_vectors(texts_CTD)
        told = [
            None if image is None else ranked(labels, classes_CD @ image.vector_D, self._scale, top)
            for image in pictures.embeddings
        ]
        return Classified(told, pictures.errors, any(one.truncated for one in texts), watch.read())

    def _check(self, labels: Sequence[str], templates: Sequence[str]) -> None:
        if not labels:
            raise InvalidField("labels", "at least one label is needed")
        if len(set(labels)) < len(labels):
            twice = next(label for i, label in enumerate(labels) if label in labels[:i])
            raise InvalidField("labels", f"{twice!r:.100} is there twice")
        sentences, most = len(labels) * max(1, len(templates)), self._limits.max_sentences
        if sentences > most:
            raise TooLarge(
                f"labels: {len(labels)} with {len(templates)} templates are {sentences} sentences; "
                f"at most {most} are accepted"
            )
        for i, label in enumerate(labels):
            with blame(f"labels[{i}]"):
                check_text(label, self._limits)
        for i, template in enumerate(templates):
            if PLACE not in template:
                raise InvalidField(f"templates[{i}]", f"{template!r:.100} has no {PLACE} for the label")

    async def _sentences(self, sentences: Sequence[str], watch: Stopwatch) -> list[Embedding]:
        """An embedding of each sentence, or the error of the first that has none."""
        found = []
        step = self._limits.max_items  # what always finds room in an empty queue
        for start in range(0, len(sentences), step):
            embedded = await self._embedder.texts(sentences[start : start + step], watch)
            for i, embedding in enumerate(embedded.embeddings):
                if embedding is None:
                    with blame("labels"):
                        raise embedded.errors[i]
                found.append(embedding)
        return found
