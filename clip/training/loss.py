"""The losses of contrastive training, as functions of unit vectors.

Shape suffixes: B images, M texts, G groups, D embedding width. Rows of one group (one concept, one picture)
are all positives of each other, so several views and languages of a concept never push each other away.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits_BM: Tensor, positive_BM: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy (scalar, nats) of rows whose probability is shared evenly among the positives.

    Rows without a positive are left out. The multi-positive form is that of Khosla et al., "Supervised
    Contrastive Learning", NeurIPS 2020, equation 2.
    """
    target_BM = positive_BM.to(logits_BM.dtype)
    count_B1 = target_BM.sum(1, keepdim=True)
    target_BM = target_BM / count_B1.clamp(min=1)
    if smoothing:
        target_BM = target_BM * (1 - smoothing) + smoothing / target_BM.shape[1]
    loss_B = -(target_BM * F.log_softmax(logits_BM, dim=1)).sum(1)
    has_B = count_B1.squeeze(1) > 0
    return (loss_B * has_B).sum() / has_B.sum().clamp(min=1)


def contrastive_loss(
    image_BD: Tensor,
    text_MD: Tensor,
    image_group_B: Tensor,
    text_group_M: Tensor,
    scale: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """The mean of the image-to-text and the text-to-image cross-entropy (scalar, nats).

    With one text an image and every group different this is the loss of CLIP (Radford et al. 2021, figure 3).
    """
    logits_BM = scale * image_BD @ text_MD.T
    positive_BM = image_group_B[:, None] == text_group_M[None, :]
    return 0.5 * (
        soft_cross_entropy(logits_BM, positive_BM, smoothing)
        + soft_cross_entropy(logits_BM.T, positive_BM.T, smoothing)
    )


def view_loss(image_BD: Tensor, group_B: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy (scalar, nats) of each image against the others, where those of its group are right."""
    itself_BB = torch.eye(len(group_B), dtype=torch.bool, device=group_B.device)
    logits_BB = (scale * image_BD @ image_BD.T).masked_fill(itself_BB, -1e4)
    return soft_cross_entropy(logits_BB, (group_B[:, None] == group_B[None, :]) & ~itself_BB)


def distance_loss(vector_BD: Tensor, proxy_GD: Tensor, group_B: Tensor) -> Tensor:
    """Mean squared distance (scalar, 0 to 4) of each unit vector from the unit vector of its group.

    A cross-entropy is content once a vector is nearer to its own proxy than to all others, on whichever side
    of it; towards fixed vectors this goes on to the place itself. So texts of further languages are taught by
    Reimers & Gurevych, "Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation",
    EMNLP 2020, equation 1.
    """
    return (vector_BD - F.normalize(proxy_GD, dim=1)[group_B]).square().sum(1).mean()


def proxy_loss(
    vector_BD: Tensor, proxy_GD: Tensor, group_B: Tensor, scale: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy (scalar, nats) of each vector against one learned unit vector a group.

    Every group is a negative in every step, whatever the batch holds, and the towers learn before they agree:
    it is what lets many languages start together. Movshovitz-Attias et al., "No Fuss Distance Metric Learning
    using Proxies", ICCV 2017, equation 4, with a softmax over all proxies.
    """
    return F.cross_entropy(
        scale * vector_BD @ F.normalize(proxy_GD, dim=1).T, group_B, label_smoothing=smoothing
    )
