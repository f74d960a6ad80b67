"""Locked-image tuning: the image tower stays as it is, and the text tower learns to meet it.

No image is encoded in a step, so a step costs its texts alone. It helps where images are ahead of texts: many
languages, rare words. After Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning", CVPR 2022;
here the images speak through one fixed vector a group, the sum of two that err in different ways:

- what the text tower itself says of the group, averaged over names in several languages (proxies.py);
- the direction that best tells the group's images from all others, Fisher's linear discriminant.
"""

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ..tokenizer import Tokenizer
from .augment import style_augment
from .batches import decode, light_shade, normalised
from .config import TrainConfig
from .data import Pairs
from .learner import Learner
from .proxies import start_proxies

IMAGES = 256  # at a time
RIDGE = 0.03  # of the mean variance of all images, which is not zero where a group has one
DISCRIMINANT = 1.5  # weight beside what the texts say


@torch.no_grad()
def fix_proxies(
    learner: Learner, pairs: Pairs, tokenizer: Tokenizer, config: TrainConfig, size: int, quiet: bool
) -> None:
    """Sets each proxy to what its group's texts are to become, in place."""
    named_GD = start_proxies(learner, pairs, tokenizer, config, quiet)
    seen_GD = discriminants(learner, pairs, config, size, quiet)
    named_GD.copy_(F.normalize(named_GD + DISCRIMINANT * seen_GD, dim=1))


@torch.no_grad()
def discriminants(
    learner: Learner, pairs: Pairs, config: TrainConfig, size: int, quiet: bool = True
) -> Tensor:
    """Unit vectors (G, D): the inverse covariance within groups times (mean of the group - mean of all).

    Of every image as it is and, with `augment`, once augmented. Memory does not grow with the images. The
    covariance is shrunk towards a multiple of one (Friedman, "Regularized Discriminant Analysis", JASA 1989).
    """
    group_N = torch.as_tensor(pairs.groups_N)
    dim, device = learner.model.text_projection.shape[1], learner.model.text_projection.device
    sum_GD = torch.zeros(len(pairs.group_names), dim, dtype=torch.float64)
    square_DD = torch.zeros(dim, dim, dtype=torch.float64)
    views = 2 if config.augment else 1
    chunks = torch.split(torch.arange(len(pairs)), IMAGES)
    for number, chunk in enumerate(
        track(chunks, description="images", console=Console(stderr=True), disable=quiet)
    ):
        for augmented in range(views):
            pixels = _pixels(pairs, chunk, size, (config.seed, 4, number) if augmented else None)
            encoded_BD = learner.model.encode_image(normalised(pixels).to(device))
            vectors_BD = F.normalize(encoded_BD.float(), dim=1).cpu().double()
            sum_GD.index_add_(0, group_N[chunk], vectors_BD)
            square_DD += vectors_BD.T @ vectors_BD
    count_G1 = views * torch.bincount(group_N, minlength=len(sum_GD))[:, None]
    mean_GD, mean_D = sum_GD / count_G1, sum_GD.sum(0) / count_G1.sum()
    within_DD = (square_DD - mean_GD.T @ (count_G1 * mean_GD)) / count_G1.sum()
    variance = (square_DD.trace() / count_G1.sum() - mean_D @ mean_D) / dim
    within_DD += RIDGE * variance * torch.eye(dim, dtype=torch.float64)
    found_GD = torch.linalg.solve(within_DD, (mean_GD - mean_D).T).T
    return F.normalize(found_GD, dim=1).float().to(device)


def _pixels(pairs: Pairs, rows: Tensor, size: int, seed: tuple[int, ...] | None) -> Tensor:
    """(B, 3, size, size) in [0, 1]; with a seed as training shows them, without as they are."""
    if seed is None:
        return torch.stack([decode(pairs.read(int(row)), size) for row in rows])
    random = np.random.default_rng(seed)
    pixels = torch.stack([decode(pairs.read(int(row)), size, light_shade(random)) for row in rows])
    return style_augment(pixels, torch.Generator().manual_seed(int(random.integers(2**62))))
