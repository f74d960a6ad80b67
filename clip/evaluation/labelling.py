"""Which of some labels fits each picture: zero-shot classification of a few pictures.

Legend: C = labels, N = pictures, D = width.
"""

from collections.abc import Mapping, Sequence

from ...errors import InvalidInput
from ..encoder import Encoder
from ..images import ImageSource
from .classifier import build_classifier
from .prompts import prompts_of
from .ranking import LabelScore, ranked


def label_pictures(
    encoder: Encoder,
    pictures: Mapping[str, ImageSource],
    labels: Sequence[str],
    *,
    templates: Sequence[str] = (),
    top: int = 0,
    progress: bool = False,
) -> tuple[dict[str, list[LabelScore]], dict[str, str]]:
    """The `top` labels (0: all) of each picture by its id, and for each that cannot be read the reason."""
    if not labels or len(set(labels)) < len(labels):
        raise InvalidInput("expected labels, each once")
    if bare := [template for template in templates if "{}" not in template and "{c}" not in template]:
        raise InvalidInput(f"the template {bare[0]!r} has no {{}} for the label")
    classifier_CD = build_classifier(encoder, prompts_of(labels, templates or ["{}"]))
    vectors_ND, errors = encoder.try_encode_images(list(pictures.values()), progress=progress)
    ids = list(pictures)
    read = [id for row, id in enumerate(ids) if row not in errors]
    found = {
        id: ranked(labels, classifier_CD @ vector_D, encoder.logit_scale, top)
        for id, vector_D in zip(read, vectors_ND, strict=True)
    }
    return found, {ids[row]: str(error) for row, error in errors.items()}
