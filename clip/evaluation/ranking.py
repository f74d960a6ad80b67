"""How probable each of some labels is; for clients, which have no torch, as well.

Legend: C = labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How probable a label is among the labels of its request, and the cosine of image and label.

    Of a probe: among its classes, and the logit.
    """

    label: str
    probability: float
    score: float


def ranked(
    labels: Sequence[str], scores_C: npt.NDArray[np.floating], scale: float = 1.0, top: int = 0
) -> list[LabelScore]:
    """The labels with the softmax of their scaled scores, best first; equal ones in the order given."""
    logits_C = scale * scores_C.astype(np.float64)
    weights_C = np.exp(logits_C - logits_C.max())
    probabilities_C = weights_C / weights_C.sum()
    order = np.argsort(-scores_C, kind="stable")[: top or len(labels)]
    return [LabelScore(labels[i], float(probabilities_C[i]), float(scores_C[i])) for i in order]
