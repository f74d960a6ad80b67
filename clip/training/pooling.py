"""The image tower's head start: its last layer fitted to the proxies in closed form.

The vectors of an untrained tower all point the same way, and contrastive training spends its first hundreds
of steps pulling them apart. A ridge regression from the pooled features of some batches to the proxies does
that at once.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InvalidInput
from .batches import BatchMaker
from .learner import Learner

RIDGE = 0.01  # of the features' mean variance
BATCHES = 16


@torch.no_grad()
def start_pooling(learner: Learner, maker: BatchMaker) -> None:
    """Sets the projection of the attention pooling to the ridge regression onto the proxies, in place."""
    if learner.proxies is None:
        raise InvalidInput("the head start needs proxies; set proxies above 0")
    projection = learner.model.clip_projector.cross_attn.proj
    features: list[Tensor] = []
    groups: list[Tensor] = []
    hook = projection.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].flatten(0, -2)))
    for step in range(BATCHES):
        for batch in maker.make(step):
            learner.model.encode_image(batch.pixels_BCHW.to(projection.weight.device))
            groups.append(batch.image_group_B.to(projection.weight.device))
    hook.remove()
    weight, bias = ridge(torch.cat(features), F.normalize(learner.proxies, dim=1)[torch.cat(groups)])
    projection.weight.copy_(weight)
    projection.bias.copy_(bias)


def ridge(features_NT: Tensor, targets_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (D, T) and bias (D,) whose outputs follow the targets, scaled to a mean square length of 1."""
    mean_T = features_NT.mean(0)
    centred_NT = features_NT - mean_T
    gram_TT = centred_NT.T @ centred_NT
    gram_TT += RIDGE * gram_TT.diagonal().mean() * torch.eye(len(gram_TT), device=gram_TT.device)
    weight_DT = torch.linalg.solve(gram_TT, centred_NT.T @ (targets_ND - targets_ND.mean(0))).T
    weight_DT /= (centred_NT @ weight_DT.T).square().sum(1).mean().sqrt()
    return weight_DT, -weight_DT @ mean_T
