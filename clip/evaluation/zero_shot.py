"""Zero-shot classification from text vectors, and its metrics (Radford et al. 2021, section 3.1).

Legend: C = classes, T = templates, D = width, N = images.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

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


def label_metrics(scores_NC: Floats, targets_N: Integers) -> dict[str, float]:
    """acc1, acc5 and mean_per_class_recall in [0, 1], by clip_benchmark's names and counting.

    Unlike `accuracy_at_k`, equal scores stand in the order of torch.topk, as there: class lists in Japanese
    and Italian name some classes alike, and the published figures are counted so. acc5 is NaN under five
    classes.
    """
    first_Nk = _first(scores_NC, 5)
    hits_Nk = first_Nk == targets_N[:, None]
    return {
        "acc1": float(hits_Nk[:, 0].mean()),
        "acc5": float(hits_Nk.any(axis=1).mean()) if scores_NC.shape[1] >= 5 else float("nan"),
        "mean_per_class_recall": mean_per_class_recall(scores_NC, targets_N),
    }


def any_label_metrics(scores_NC: Floats, targets: Sequence[Sequence[int]]) -> dict[str, float]:
    """acc1 and acc5 in [0, 1] where any of an image's labels is right (ImageNet-ReaL)."""
    first_Nk = _first(scores_NC, 5)
    hits_Nk = np.array([np.isin(first_k, own) for first_k, own in zip(first_Nk, targets, strict=True)])
    return {"acc1": float(hits_Nk[:, 0].mean()), "acc5": float(hits_Nk.any(axis=1).mean())}


def mean_average_precision(scores_NC: Floats, targets_NC: Integers) -> float:
    """The mean over classes, in [0, 1], of the average precision of each; targets are 0 or 1.

    A class without an image counts 0, as in clip_benchmark.
    """
    precisions = []
    for scores_N, truth_N in zip(scores_NC.T, targets_NC.T, strict=True):
        sorted_N = truth_N[np.argsort(-scores_N, kind="stable")] > 0
        precision_N = sorted_N.cumsum() / np.arange(1, len(sorted_N) + 1)
        precisions.append(precision_N[sorted_N].sum() / max(int(sorted_N.sum()), 1))
    return float(np.mean(precisions))


def _first(scores_NC: Floats, k: int) -> Integers:
    """(N, k) the classes of the k highest scores, highest first; all of them where there are fewer."""
    scores = torch.from_numpy(np.ascontiguousarray(scores_NC))
    first_Nk: Integers = scores.topk(min(k, scores.shape[1]), dim=1).indices.numpy()
    return first_Nk


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
