"""Zero-shot classification from text vectors, and its metrics (Radford et al. 2021, section 3.1).

Legend: C = classes, T = templates, D = width, N = images.
"""

import numpy as np
import numpy.typing as npt

from ...errors import InvalidInput

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]


def class_vectors(texts_CTD: Floats) -> Floats:
    """One unit vector per class, (C, D): the normalised mean of its templates' normalised text vectors."""
    mean_CD = _unit(texts_CTD).mean(axis=1)
    return _unit(mean_CD)


def accuracy_at_k(scores_NC: Floats, targets_N: Integers, k: int = 1) -> float:
    """The share of images, in [0, 1], whose class is among the k highest scores; ties count against."""
    if not 1 <= k <= scores_NC.shape[1]:
        raise InvalidInput(f"k is {k}, expected 1 to the {scores_NC.shape[1]} classes")
    own_N1 = np.take_along_axis(scores_NC, targets_N[:, None], axis=1)
    return float(((scores_NC >= own_N1).sum(axis=1) <= k).mean())


def mean_per_class_recall(scores_NC: Floats, targets_N: Integers) -> float:
    """The share of right answers, in [0, 1], averaged over the classes that occur in `targets_N`."""
    right_N = scores_NC.argmax(axis=1) == targets_N
    return float(np.mean([right_N[targets_N == target].mean() for target in np.unique(targets_N)]))


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
