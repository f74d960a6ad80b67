"""The model and its losses as one module: what an optimiser step differentiates."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..internvl_c import InternVLC
from .batches import Batch
from .config import TrainConfig
from .distributed import gather
from .loss import contrastive_loss, distance_loss, proxy_loss, view_loss
from .muon import Muon

LOCKED_SCALE = 20.0  # inverse temperature of texts against fixed proxies; the model's own stays as it is


class Learner(nn.Module):
    """InternVL-C in training, with one proxy vector a group when the recipe asks for proxies."""

    def __init__(self, model: InternVLC, config: TrainConfig, groups: int) -> None:
        super().__init__()
        self.model, self.config = model, config
        dim = model.text_projection.shape[1]
        self.proxies = nn.Parameter(torch.randn(groups, dim) / math.sqrt(dim)) if config.proxies else None
        if config.lock_image:
            self.requires_grad_(False)
            model.qllama.requires_grad_(True)
            model.text_projection.requires_grad_(True)

    def forward(self, batch: Batch, patch_keep: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss (scalar) and its parts by name, for the log."""
        config, model = self.config, self.model
        text = F.normalize(encode_texts(model, batch.ids_ML).float(), dim=1)
        if config.lock_image and self.proxies is not None:
            scale = torch.tensor(LOCKED_SCALE, device=text.device)
            nearest = proxy_loss(text, self.proxies, batch.text_group_M, scale, config.label_smoothing)
            distance = distance_loss(text, self.proxies, batch.text_group_M)
            loss = config.proxies * nearest + config.proxy_distance * distance
            return loss, {"text_proxy": nearest.detach(), "distance": distance.detach()}
        image = F.normalize(model.encode_image(batch.pixels_BCHW, patch_keep=patch_keep).float(), dim=1)
        scale = model.logit_scale.exp()
        parts = {}
        images, texts = gather(image), gather(text)
        image_group, text_group = gather(batch.image_group_B), gather(batch.text_group_M)
        parts["contrast"] = contrastive_loss(
            images, texts, image_group, text_group, scale, config.label_smoothing
        )
        loss = config.contrast * parts["contrast"]
        if config.image_contrast:
            parts["views"] = view_loss(images, image_group, scale)
            loss = loss + config.image_contrast * parts["views"]
        if self.proxies is not None:
            smoothing = config.label_smoothing
            parts["image_proxy"] = proxy_loss(image, self.proxies, batch.image_group_B, scale, smoothing)
            parts["text_proxy"] = proxy_loss(text, self.proxies, batch.text_group_M, scale, smoothing)
            loss = loss + config.proxies * (parts["image_proxy"] + parts["text_proxy"])
        return loss, {name: value.detach() for name, value in parts.items()}


def encode_texts(model: InternVLC, ids_ML: Tensor, parts: int = 4) -> Tensor:
    """Text vectors (M, D), not normalised.

    Encoded in `parts` by length, so that short texts carry little padding.
    """
    order_M = (ids_ML > 0).sum(1).argsort()
    vectors_MD = torch.cat([model.encode_text(ids) for ids in ids_ML[order_M].chunk(parts)])
    return vectors_MD[order_M.argsort()]


def make_optimizers(learner: Learner, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices of the vision layers when the recipe asks for it."""
    names = {
        f"model.vision_model.encoder.{n}" for n, p in learner.model.vision_model.encoder.named_parameters()
    }
    muon = (
        [p for n, p in learner.named_parameters() if n in names and p.ndim == 2]
        if config.muon_learning_rate
        else []
    )
    taken = {id(p) for p in muon}
    rest = [(n, p) for n, p in learner.named_parameters() if p.requires_grad and id(p) not in taken]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            parameter_groups(rest, config), lr=config.learning_rate, betas=config.betas, fused=True
        )
    ]
    if muon:
        rate = config.muon_learning_rate
        optimizers.append(Muon([{"params": muon, "peak": rate}], lr=rate, weight_decay=config.weight_decay))
    return optimizers


def parameter_groups(
    parameters: list[tuple[str, nn.Parameter]], config: TrainConfig
) -> list[dict[str, object]]:
    """AdamW's groups: matrices decay, vectors and scalars do not, embeddings may have a rate of their own."""
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    embeddings: list[Tensor] = []
    for name, parameter in parameters:
        if name.endswith("embed_tokens.weight") or name == "proxies":
            embeddings.append(parameter)
        elif parameter.ndim >= 2 and "embedding" not in name.rsplit(".", 1)[-1]:
            decayed.append(parameter)
        else:
            plain.append(parameter)
    rate = config.learning_rate
    return [
        {"params": decayed, "peak": rate, "weight_decay": config.weight_decay},
        {"params": plain, "peak": rate, "weight_decay": 0.0},
        {"params": embeddings, "peak": config.embedding_learning_rate or rate, "weight_decay": 0.0},
    ]


def rate_share(step: int, config: TrainConfig) -> float:
    """The share of the peak rate at `step`.

    Linear warm-up, then a cosine down to zero (Loshchilov & Hutter 2017).
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))
