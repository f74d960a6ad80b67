"""The metrics once more, by sorting; T = texts, N = pictures, C = classes."""

from collections.abc import Sequence

import numpy as np


def accuracies(scores_NC: np.ndarray, labels: Sequence[Sequence[int]]) -> dict[str, float]:
    """acc1, acc5 and the mean recall of the classes, of pictures with right classes each."""
    order_NC = np.argsort(-scores_NC, axis=1)
    hits = [
        [label in row[:k] for label in own] for row, own in zip(order_NC, labels, strict=True) for k in (1, 5)
    ]
    first, five = np.array([any(own) for own in hits]).reshape(-1, 2).T
    found = {"acc1": first.mean(), "acc5": five.mean()}
    if all(len(own) == 1 for own in labels):
        classes = {own[0] for own in labels}
        of_class = [[hit for hit, own in zip(first, labels, strict=True) if own == [c]] for c in classes]
        found["mean_per_class_recall"] = np.mean([np.mean(own) for own in of_class])
    return found


def recalls(scores_TN: np.ndarray, image_of_T: np.ndarray) -> dict[str, float]:
    """Recall at 1, 5 and 10 both ways, by sorting."""
    of_text = [list(np.argsort(-row)).index(image) for row, image in zip(scores_TN, image_of_T, strict=True)]
    of_image = [
        min(place for place, text in enumerate(np.argsort(-scores_T)) if image_of_T[text] == image)
        for image, scores_T in enumerate(scores_TN.T)
    ]
    ways = (("image", of_text), ("text", of_image))
    return {
        f"{way}_retrieval_recall@{k}": float((np.array(places) < k).mean())
        for way, places in ways
        for k in (1, 5, 10)
    }
