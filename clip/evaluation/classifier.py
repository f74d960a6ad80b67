"""A zero-shot classifier: one unit vector for each class, from its prompts, kept for the next run.

Legend: C = classes, D = width.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...backbone.world import World
from ...errors import InvalidInput
from ...whole import write_whole
from ..batches import grouped, tracked
from ..encoder import Vectors
from .encode import ALONE, Embeds, gathered
from .zero_shot import class_vectors

CLASSES_AT_ONCE = 64  # so that the vectors of 1,000 classes in 80 sentences are never all in memory


def build_classifier(
    encoder: Embeds,
    prompts: Sequence[Sequence[str]],
    *,
    world: World = ALONE,
    cache: Path | None = None,
    progress: bool = False,
) -> Vectors:
    """(C, D) float32, unit rows: of each class the mean of its prompts' unit vectors.

    In the folder `cache` a classifier is kept under a name made of the model's fingerprint and the prompts.
    """
    if not prompts or not all(prompts):
        raise InvalidInput("expected classes with one prompt or more each")
    file = cache / f"{cache_key(encoder.fingerprint, prompts)}.npy" if cache else None
    if file is not None and (kept := _read(file, (len(prompts), encoder.dim))) is not None:
        return kept
    own = prompts[world.rank :: world.size]
    groups = grouped(own, CLASSES_AT_ONCE)
    total = -(-len(own) // CLASSES_AT_ONCE)
    rows = [np.empty((0, encoder.dim), np.float32)]
    for group in tracked(groups, total, "classes", show=progress and world.leads):
        texts_TD = encoder.encode_texts([text for texts in group for text in texts])
        ends = np.cumsum([len(texts) for texts in group])[:-1]
        rows += [class_vectors(of_class_TD[None]) for of_class_TD in np.split(texts_TD, ends)]
    classifier_CD = gathered(np.concatenate(rows).astype(np.float32), len(prompts), world)
    if file is not None and world.leads:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: _write(path, classifier_CD))
    return classifier_CD


def cache_key(fingerprint: str, prompts: Sequence[Sequence[str]]) -> str:
    """64 hexadecimal digits that change with the model and with every prompt."""
    text = json.dumps([fingerprint, [list(texts) for texts in prompts]])
    return hashlib.sha256(text.encode()).hexdigest()


def _read(file: Path, shape: tuple[int, int]) -> Vectors | None:
    """The kept classifier; None if there is none, or if it is damaged and has to be made again."""
    try:
        kept = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape and kept.dtype == np.float32 else None


def _write(path: Path, classifier_CD: Vectors) -> None:
    with path.open("wb") as file:
        np.save(file, classifier_CD, allow_pickle=False)
