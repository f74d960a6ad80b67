"""Captions of images, and how well texts fit them, in batches formed across callers.

T = texts of a request.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..clip.reader import PROMPT
from ..errors import InvalidInput
from .batching import Batcher
from .capabilities import Capabilities, Reader
from .checks import blame, check_count, check_image, check_text
from .embedder import Embedder
from .errors import InvalidField, TooLarge
from .gathering import gathered
from .metrics import Metrics
from .records import Captioned, Matched, Vector, Wording
from .settings import Limits, Settings
from .stopwatch import Stopwatch

MAX_BEAMS, MAX_TOKENS = 10, 128
Picture = bytes | Path  # encoded, or the file that has it


class Describer:
    """One batcher for captions and one for matching, beside those of the embedder and on its devices."""

    def __init__(
        self,
        embedder: Embedder,
        capabilities: Capabilities,
        settings: Settings,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._embedder, self._capabilities = embedder, capabilities
        self._limits, self._metrics = limits, metrics
        readers = capabilities.readers
        if not readers:
            return
        self._captions: Batcher[tuple[bytes, Wording], tuple[Any, Wording], str] = embedder.join(
            "caption",
            lambda entry: (embedder.prepare_image(entry[0]), entry[1]),
            [partial(_run_captions, reader) for reader in readers],
            workers=settings.workers,
            size=lambda entry: entry[1].beams,
            budget=settings.max_batch,
        )
        self._matches: Batcher[tuple[Picture, list[Any]], tuple[Any, list[Any]], Vector] = embedder.join(
            "match",
            lambda entry: (embedder.prepare_image(_read(entry[0], limits)), entry[1]),
            [partial(_run_matches, reader) for reader in readers],
            workers=settings.workers,
            size=lambda entry: len(entry[1]),
            budget=limits.max_pairs,
        )

    async def caption(self, images: Sequence[bytes], wording: Wording) -> Captioned:
        """A caption or an error for each image, in order."""
        watch, reader = Stopwatch(), self._capabilities.require_reader()
        check_count(len(images), "images", self._limits)
        prompt = wording.prompt or PROMPT
        with blame("prompt"):
            reader.check_prompt(check_text(prompt, self._limits))
        _check(wording)
        wording = replace(wording, prompt=prompt)
        note = partial(self._metrics.entry, "caption")
        found, errors = await gathered(self._captions, [(one, wording) for one in images], watch, note, True)
        return Captioned(found, errors, watch.read())

    async def match(
        self, images: Sequence[Picture], texts: Sequence[str], watch: Stopwatch | None = None
    ) -> Matched:
        """For each image, in order, the probability of each text (T,) float32, or its error."""
        watch, reader = watch or Stopwatch(), self._capabilities.require_reader()
        if not texts:
            raise InvalidField("texts", "at least one text is needed")
        if (pairs := len(images) * len(texts)) > self._limits.max_pairs:
            raise TooLarge(
                f"{len(images)} images and {len(texts)} texts are {pairs} pairs; at most "
                f"{self._limits.max_pairs} are accepted"
            )
        ids, truncated = await asyncio.to_thread(self._prepared, reader, texts)
        note = partial(self._metrics.entry, "match")
        found, errors = await gathered(self._matches, [(one, ids) for one in images], watch, note, True)
        return Matched(found, errors, truncated, watch.read())

    def _prepared(self, reader: Reader, texts: Sequence[str]) -> tuple[list[Any], bool]:
        found, truncated = [], False
        for i, text in enumerate(texts):
            with blame(f"texts[{i}]"):
                ids, cut = reader.prepare_text(check_text(text, self._limits))
            found.append(ids)
            truncated |= cut
        return found, truncated


def _check(wording: Wording) -> None:
    for field, value, least, most in (
        ("beams", wording.beams, 1, MAX_BEAMS),
        ("max_tokens", wording.most, 1, MAX_TOKENS),
        ("min_tokens", wording.least, 0, wording.most),
    ):
        if not least <= value <= most:
            raise InvalidField(field, f"{value} is not from {least} to {most}")


def _read(image: Picture, limits: Limits) -> bytes:
    """The encoded picture; the message of an error does not name its file."""
    if isinstance(image, bytes):
        return check_image(image, limits)
    try:
        with image.open("rb") as file:
            return check_image(file.read(limits.max_image_bytes + 1), limits)
    except OSError:
        raise InvalidInput("the picture cannot be read") from None


def _run_captions(reader: Reader, entries: list[tuple[Any, Wording]]) -> list[str | Exception]:
    captions: list[str | Exception] = [""] * len(entries)
    kinds: dict[tuple[int, int, int], list[int]] = {}
    for i, (_, wording) in enumerate(entries):
        kinds.setdefault((wording.beams, wording.least, wording.most), []).append(i)
    for (beams, least, most), places in kinds.items():
        prompts = [entries[i][1].prompt for i in places]
        pixels = [entries[i][0] for i in places]
        said = reader.caption(pixels, prompts, beams=beams, least=least, most=most)
        for i, caption in zip(places, said, strict=True):
            captions[i] = caption
    return captions


def _run_matches(reader: Reader, entries: list[tuple[Any, list[Any]]]) -> list[Vector | Exception]:
    found = reader.match([pixels for pixels, _ in entries], [ids for _, ids in entries])
    return [
        one if np.isfinite(one).all() else InvalidInput("the model gives no finite number for it")
        for one in found
    ]
