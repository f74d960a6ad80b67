"""How well a model finds OpenMoji drawings by their names, and names them, language by language.

The drawings are ones that the model `mini` never saw; most names are ones it learned from other drawings.
Legend: N = drawings of the gallery, Q = names asked in one language, D = width of the vectors.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..clip.evaluation.ranks import pair_ranks
from ..errors import InvalidInput
from .embedding import Embeds, Vectors, embed_pictures
from .openmoji import Drawing, key_of
from .progress import track

KS = (1, 5, 10)
NAMED_KS = (1, 5)  # top-1 and top-5 accuracy
# The concepts that `mini` was not shown in any style or language; written when it is trained.
HELD_OUT = Path(__file__).parents[1] / "clip" / "mini" / "held_out.json"


@dataclass(frozen=True)
class Recall:
    """How many names were asked, and by k the share in [0, 1] with a right drawing among the first k.

    `named` is zero-shot classification: by k, the share of drawings whose own name, of all the language's
    names, is among the k likeliest.
    """

    queries: int
    at: Mapping[int, float]
    named: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Recall by language tag over `images` drawings, and over the `held_out_images` held-out ones alone."""

    images: int
    languages: Mapping[str, Recall]
    held_out_images: int = 0
    held_out: Mapping[str, Recall] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same, with the means over the languages, as JSON knows it."""
        content = {"images": self.images, **_scores(self.languages)}
        if self.held_out is not None:
            content["held_out"] = {"images": self.held_out_images, **_scores(self.held_out)}
        return content


def evaluate(
    encoder: Embeds,
    gallery: Sequence[Drawing],
    files: Mapping[str, Path],
    named: Mapping[str, Mapping[str, str]],
    *,
    held_out: frozenset[str] | None = None,
) -> Evaluation:
    """Recall over the gallery in each language of `named` (tag -> emoji -> name), and among `held_out`."""
    rows = [n for n, drawing in enumerate(gallery) if held_out and drawing.key in held_out]
    if held_out is not None and len(rows) < max(KS):
        raise InvalidInput(f"{len(rows)} held-out concepts are in the gallery, expected {max(KS)} or more")
    parts = embed_pictures(encoder, [files[drawing.key] for drawing in gallery])
    vectors_ND = np.concatenate(list(parts))
    whole: dict[str, Recall] = {}
    unseen: dict[str, Recall] = {}
    for language, names in track(named.items(), "asking", total=len(named)):
        whole[language] = recall(encoder, vectors_ND, gallery, names)
        if rows:
            unseen[language] = recall(encoder, vectors_ND[rows], [gallery[n] for n in rows], names)
    if held_out is None:
        return Evaluation(len(gallery), whole)
    return Evaluation(len(gallery), whole, len(rows), unseen)


def recall(
    encoder: Embeds, vectors_ND: Vectors, gallery: Sequence[Drawing], names: Mapping[str, str]
) -> Recall:
    """Recall at KS of each different name; every drawing of that name is a right answer."""
    right: dict[str, list[int]] = {}
    for n, drawing in enumerate(gallery):
        if drawing.emoji in names:
            right.setdefault(names[drawing.emoji], []).append(n)
    if not right:
        raise InvalidInput("none of the gallery's drawings has a name in this language")
    texts_QD = encoder.encode_texts(list(right))
    pairs_P2 = np.array([(q, n) for q, rows in enumerate(right.values()) for n in rows])
    of_name_Q, of_drawing_N = pair_ranks(texts_QD, vectors_ND, pairs_P2)
    of_drawing_P = of_drawing_N[pairs_P2[:, 1]]
    at = {k: float((of_name_Q < k).mean()) for k in KS if k <= len(gallery)}
    named = {k: float((of_drawing_P < k).mean()) for k in NAMED_KS}
    return Recall(len(right), at, named)


def mean(recalls: Iterable[Recall]) -> dict[int, float]:
    """The mean over languages of recall at each k, every language weighing the same."""
    return mean_share([one.at for one in recalls])


def mean_share(shares: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The mean of the shares at each k."""
    return {k: sum(share[k] for share in shares) / len(shares) for k in shares[0]}


def held_out_keys(file: Path = HELD_OUT) -> frozenset[str]:
    """The keys of the concepts that `mini` never trained on, from a JSON list such as ["1f40b", "1f9e6"]."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        message = f"{file.name} is missing: the installed model `mini` names no held-out concepts"
        raise InvalidInput(message) from None
    except ValueError as error:
        raise InvalidInput(f"{file.name} is not JSON: {error}") from error
    if not isinstance(content, list) or not all(isinstance(key, str) for key in content):
        raise InvalidInput(f'{file.name}: expected a list of code points such as "1f40b"')
    try:
        return frozenset(key_of("".join(chr(int(point, 16)) for point in key.split("-"))) for key in content)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f'{file.name}: expected code points in hex such as "1f40b": {error}') from error


def _scores(languages: Mapping[str, Recall]) -> dict[str, Any]:
    by_language = {
        tag: {"queries": one.queries, **_named(one.at, one.named)} for tag, one in languages.items()
    }
    named = mean_share([one.named for one in languages.values()])
    return {"languages": by_language, "mean": _named(mean(languages.values()), named)}


def _named(at: Mapping[int, float], named: Mapping[int, float]) -> dict[str, float]:
    found = {f"recall@{k}": round(share, 4) for k, share in at.items()}
    return found | {f"acc{k}": round(share, 4) for k, share in named.items()}
