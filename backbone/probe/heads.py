"""The three heads of the published linear probes: pooled tokens, then BatchNorm and one linear map.

Letters of the shapes: B batch, N tokens (class token first), D width of the backbone, F features, C classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...errors import InvalidInput
from ..attention_pool import AttentionPool
from .norm import BatchNorm

# Class token beside the mean of the patches; a pooling trained with the head; the checkpoint's own pooling.
HEADS = ("cls_patch_concat", "attention_pooling", "clip_projector")
NORM_EPS = 1e-6
WEIGHT_STD = 0.01


class Head(nn.Module):
    """Features to logits; parameters named as in the published head checkpoints.

    `width` is that of the features: for "attention_pooling" the tokens', which are pooled here by
    `num_heads` heads. The other two kinds get vectors, made by `pooled` from frozen parts alone.
    """

    def __init__(self, kind: str, width: int, classes: int, num_heads: int = 1) -> None:
        super().__init__()
        check_kind(kind)
        self.kind = kind
        self.attn_pooling: AttentionPool | None = None
        if kind == "attention_pooling":
            if width % num_heads:
                raise InvalidInput(f"{num_heads} heads do not divide the width {width}")
            self.attn_pooling = AttentionPool(width, width, num_heads)
        self.norm = BatchNorm(width, eps=NORM_EPS)
        self.head = nn.Linear(width, classes)

    def init_weights(self, generator: torch.Generator) -> None:
        """Nothing; fresh weights: the linear map normal with 0.01, its bias 0 (the published recipe)."""
        if self.attn_pooling is not None:
            for parameter in self.attn_pooling.parameters():
                if parameter.ndim == 2:
                    nn.init.trunc_normal_(parameter, std=0.02, a=-0.04, b=0.04, generator=generator)
            nn.init.zeros_(self.attn_pooling.cross_attn.proj.bias)
        nn.init.normal_(self.head.weight, std=WEIGHT_STD, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C) float32 of (B, F) vectors, or of (B, N, D) tokens where this head pools them."""
        features = features.float()
        if self.attn_pooling is not None:
            features = self.attn_pooling(features)
        logits_BC: Tensor = self.head(self.norm(features))
        return logits_BC


def check_kind(kind: str) -> None:
    """Nothing, or `InvalidInput` for a head that does not exist."""
    if kind not in HEADS:
        raise InvalidInput(f"head must be one of {', '.join(HEADS)}, got {kind!r}")


def pooled(kind: str, tokens_BND: Tensor, projector: AttentionPool | None = None) -> Tensor:
    """What a head of this kind is given of the backbone's tokens: (B, F), or the tokens themselves."""
    check_kind(kind)
    if kind == "attention_pooling":
        return tokens_BND
    if kind == "cls_patch_concat":
        return torch.cat([tokens_BND[:, 0], tokens_BND[:, 1:].mean(dim=1)], dim=1)
    if projector is None:
        raise InvalidInput("the head clip_projector needs a checkpoint that holds clip_projector.*")
    pooled_BF: Tensor = projector(tokens_BND)
    return pooled_BF


def head_of(state: Mapping[str, Tensor], num_heads: int = 1) -> Head:
    """An empty head of the kind and sizes of a state dict.

    A vector head is taken for "cls_patch_concat": those of the projector have the same names.
    """
    if "head.weight" not in state or state["head.weight"].ndim != 2:
        got = ", ".join(sorted(state)) or "nothing"
        raise InvalidInput(f"this is no head: expected norm.* and head.*, got {got}")
    classes, width = state["head.weight"].shape
    tokens = any(name.startswith("attn_pooling.") for name in state)
    return Head("attention_pooling" if tokens else "cls_patch_concat", width, classes, num_heads)
