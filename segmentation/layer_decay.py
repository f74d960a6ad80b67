"""Smaller learning rates for earlier layers of InternViT (BEiT, Bao et al. 2021)."""

import re
from collections import defaultdict
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ..errors import InvalidInput
from .backbone import InternViTBackbone

LAYER = re.compile(r"backbone\.vit\.encoder\.layers\.(\d+)\.")


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(name="InternViTLayerDecay")
class InternViTLayerDecay(DefaultOptimWrapperConstructor):  # type: ignore[misc]  # mmengine has no types
    """Parameter groups by depth: lr * layer_decay ** (depths above), and no weight decay for vectors.

    `paramwise_cfg=dict(layer_decay=0.95)`. Depths are 0 for the embeddings, N + 1 for layer N, and the top
    one for pyramid and heads. Frozen parameters are in no group. Like the original, only vectors (norms,
    biases, layer scales) go without weight decay; class token and positions have it.
    """

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **_: Any) -> None:
        """Nothing; `params` then has one group for each depth and each weight decay."""
        backbone = getattr(module, "backbone", None)
        if not isinstance(backbone, InternViTBackbone):
            raise InvalidInput(
                f"InternViTLayerDecay is for a backbone InternViT, got {type(backbone).__name__}"
            )
        decay, top = float(self.paramwise_cfg["layer_decay"]), backbone.native.num_hidden_layers + 1
        groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                groups[depth_of(name, top), parameter.ndim <= 1].append(parameter)
        for (depth, is_vector), members in sorted(groups.items()):
            scale = decay ** (top - depth)
            group: dict[str, Any] = {"params": members, "lr": self.base_lr * scale, "lr_scale": scale}
            params.append({**group, "weight_decay": 0.0 if is_vector else self.base_wd or 0.0})

    def _validate_cfg(self) -> None:
        """Nothing, or `InvalidInput` when `paramwise_cfg` says anything but a layer decay in (0, 1]."""
        given = dict(self.paramwise_cfg)
        decay = given.pop("layer_decay", None)
        if given or not isinstance(decay, int | float) or not 0 < decay <= 1:
            got = dict(self.paramwise_cfg)
            raise InvalidInput(f"paramwise_cfg must be dict(layer_decay=...), a number in (0, 1], got {got}")


def depth_of(name: str, top: int) -> int:
    """0 for the embeddings of the backbone, N + 1 for its layer N, `top` for everything else."""
    if name.startswith("backbone.vit.embeddings."):
        return 0
    layer = LAYER.match(name)
    return int(layer[1]) + 1 if layer else top
