"""InternVL-C: images and texts become vectors of one space (Chen et al. 2023, arXiv 2312.14238, section 3.3).

Shapes: B batch, C colours, H and W pixels, L token positions, T text width, D embedding width.
"""

import math
from functools import partial
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbone.attention_pool import AttentionPool
from ..backbone.checkpoint import load_into, save_folder
from ..backbone.device import Placement
from ..backbone.shapes_only import shapes_only
from ..backbone.vit import InternViT
from .config import InternVLConfig
from .masks import text_mask
from .pretrained import open_checkpoint, without
from .qllama import QLLaMA
from .renames import C_TO_HUB, G_ONLY, back, there


class InternVLC(nn.Module):
    """The contrastive model: InternViT, attention pooling, and QLLaMA as the text encoder.

    It has no cross-attention, which texts never use; InternVL-G hands in its own `qllama` that has it.
    """

    def __init__(
        self, config: InternVLConfig, *, attention: str = "sdpa", qllama: QLLaMA | None = None
    ) -> None:
        super().__init__()
        self.config = config
        vision_width, text_width = config.vision_config.hidden_size, config.qllama_config.hidden_size
        self.vision_model = InternViT(config.vision, attention=attention)
        self.clip_projector = AttentionPool(vision_width, config.clip_embed_dim, config.attn_pool_num_heads)
        self.qllama = qllama or QLLaMA(config, vision_width, cross_attention=False)
        self.text_projection = nn.Parameter(torch.empty(text_width, config.clip_embed_dim))
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Fresh weights for training from scratch, in place; the towers have drawn their own.

        Projection and temperature are CLIP's (Radford et al. 2021, section 2.4 and their code).
        """
        self.clip_projector.init_weights()
        nn.init.normal_(self.text_projection, std=self.text_projection.shape[0] ** -0.5)
        nn.init.constant_(self.logit_scale, math.log(1 / 0.07))

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        dtype: str | torch.dtype = "auto",
        device: Placement = "auto",
        attention: str = "sdpa",
        config: InternVLConfig | None = None,
        tie_word_embeddings: bool | None = None,
    ) -> Self:
        """The model of a folder (InternVL-C's or a full InternVL), a hub id or a .pth file, in eval mode.

        `attention` is the vision tower's ("sdpa" or "flash"). `config` stands in for a missing config.json,
        `tie_word_embeddings` overrules what the config says; pretrained.py tells how checkpoints differ.
        """
        config, weights = open_checkpoint(source, config, tie_word_embeddings)
        with shapes_only():
            model = cls(config, attention=attention)
        weights = without(weights, G_ONLY)
        load_into(model, weights, rename=partial(back, table=C_TO_HUB), dtype=dtype, device=device)
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors in the hub's names, without what only InternVL-G has."""
        state = {there(name, C_TO_HUB): tensor for name, tensor in self.state_dict().items()}
        own = {name: tensor for name, tensor in state.items() if not G_ONLY.fullmatch(name)}
        save_folder(folder, {"architectures": ["InternVLC"], **self.config.to_dict()}, own)

    def encode_image(self, pixels_BCHW: Tensor, *, patch_keep: float = 1.0) -> Tensor:
        """Image vectors, (B, D), not normalised; `patch_keep` below 1 drops patches while training."""
        pooled_BD: Tensor = self.clip_projector(self.vision_model(pixels_BCHW, patch_keep=patch_keep))
        return pooled_BD

    def text_features(self, ids_BL: Tensor) -> Tensor:
        """Hidden states of every position after the final norm, (B, L, T)."""
        states_BLT: Tensor = self.qllama(self.qllama.embed(ids_BL), mask=text_mask(ids_BL))
        return states_BLT

    def encode_text(self, ids_BL: Tensor) -> Tensor:
        """Text vectors, (B, D), not normalised: the last token's hidden state, projected.

        The last token is found by counting the ids above 0, so an id 0 inside a text (<unk>) shifts it, as in
        the original. Columns of only padding are cut off first; the result does not depend on them.
        """
        ids_BL = trim_padding(ids_BL)
        last_B = (ids_BL > 0).sum(dim=1) - 1
        states_BT = self.text_features(ids_BL)[torch.arange(len(ids_BL)), last_B]
        return states_BT.to(self.text_projection.device) @ self.text_projection

    def forward(self, pixels_BCHW: Tensor, ids_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Image vectors and text vectors, (B, D) each, not normalised."""
        return self.encode_image(pixels_BCHW), self.encode_text(ids_BL)


def trim_padding(ids_BL: Tensor) -> Tensor:
    """The ids without the trailing columns that are padding in every row; at least one column stays."""
    used = (ids_BL > 0).any(dim=0).nonzero()
    return ids_BL[:, : int(used[-1]) + 1 if len(used) else 1]


def similarity(image_BD: Tensor, text_TD: Tensor, logit_scale: Tensor) -> Tensor:
    """Logits of all images (rows) with all texts (columns), (B, T): exp(logit_scale) times the cosine."""
    return logit_scale.exp() * F.normalize(image_BD, dim=-1) @ F.normalize(text_TD, dim=-1).T
