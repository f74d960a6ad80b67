"""Parameter names of a segmentor in the original's checkpoints (mmseg 0.30), each way there and back.

There the backbone's parameters stand directly under `backbone.`, named as in intern_vit_6b_224px.pth; heads
and pyramid are called as here. BatchNorm of compiled mmcv (MMSyncBN) has no `num_batches_tracked`; torch's
loads without it.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..backbone.positions import resize_positions
from ..backbone.renames import PTH_TO_HUB, back, there

VIT, PYRAMID, BACKBONE = "vit.", "pyramid.", "backbone."


def to_ours(state: dict[str, Any], prefix: str, positions_1ND: Tensor) -> None:
    """Nothing; the entries under `prefix` then have our names and positions as many as ours."""
    for name in [name for name in state if name.startswith(prefix)]:
        inner = name.removeprefix(prefix)
        if inner.startswith("up"):
            state[prefix + PYRAMID + inner] = state.pop(name)
        elif not inner.startswith((VIT, PYRAMID)):
            state[prefix + VIT + there(inner, PTH_TO_HUB)] = state.pop(name)
    name = f"{prefix}{VIT}embeddings.position_embedding"
    if name in state and state[name].shape != positions_1ND.shape:
        side = round((positions_1ND.shape[1] - 1) ** 0.5)
        state[name] = resize_positions(state[name], side, side)


def to_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A segmentor's state dict under the original's names; what is not of the backbone keeps its own."""
    renamed = {}
    for name, tensor in state.items():
        inner = name.removeprefix(BACKBONE)
        if name.startswith(BACKBONE + VIT):
            name = BACKBONE + back(inner.removeprefix(VIT), PTH_TO_HUB)
        elif name.startswith(BACKBONE + PYRAMID):
            name = BACKBONE + inner.removeprefix(PYRAMID)
        renamed[name] = tensor
    return renamed
