"""The k-nearest-neighbour probe: no training, only cosines (Wu et al. 2018; k and temperature as in DINO).

Letters of the shapes: B queries, T rows of a block of the training set, K neighbours, F features, C classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InvalidInput
from .features import Features
from .metrics import Meter

TEMPERATURE = 0.07
BLOCK = 4096


def knn(
    train: Features, held: Features, classes: tuple[str, ...], place: int, k: int, device: torch.device
) -> Meter:
    """The counts over `held` when each image is named by its `k` nearest training images.

    A neighbour votes with exp(cosine / 0.07). `place` is that of the layer among the tapped ones. Both sets
    are read in blocks: memory does not grow with them.
    """
    if not 1 <= k <= len(train):
        raise InvalidInput(f"k is {k}, expected 1 to the {len(train)} training images")
    meter = Meter(classes)
    for block_BF, labels in held.blocks(place, BLOCK):
        queries_BF = F.normalize(block_BF.to(device).flatten(1), dim=1)
        cosines_BK, labels_BK = nearest(train, queries_BF, place, k)
        votes_BC = torch.zeros(len(queries_BF), len(classes), device=device)
        # The nearest of all votes with 1, so that no vote overflows.
        weights_BK = ((cosines_BK - cosines_BK[:, :1]) / TEMPERATURE).exp()
        votes_BC.scatter_add_(1, labels_BK, weights_BK)
        # Logarithms: the softmax of a meter then gives each class its share of the votes.
        meter.update((votes_BC / votes_BC.sum(1, keepdim=True) + 1e-12).log(), torch.from_numpy(labels))
    return meter


def nearest(train: Features, queries_BF: Tensor, place: int, k: int) -> tuple[Tensor, Tensor]:
    """Cosines, descending, and labels (B, K) of each query's nearest training images."""
    device = queries_BF.device
    cosines_BK = torch.empty(len(queries_BF), 0, device=device)
    labels_BK = torch.empty(len(queries_BF), 0, dtype=torch.int64, device=device)
    for block_TF, labels in train.blocks(place, BLOCK):
        cosines_BT = queries_BF @ F.normalize(block_TF.to(device).flatten(1), dim=1).T
        labels_BT = torch.from_numpy(labels).to(device).expand(len(queries_BF), -1)
        joined = torch.cat([cosines_BK, cosines_BT], dim=1)
        cosines_BK, chosen_BK = joined.topk(min(k, joined.shape[1]), dim=1)
        labels_BK = torch.cat([labels_BK, labels_BT], dim=1).gather(1, chosen_BK)
    return cosines_BK, labels_BK
