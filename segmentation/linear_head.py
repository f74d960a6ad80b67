"""The linear head of the published recipes.

Letters of the shapes: B batch, D width, K classes, H and W rows and columns of patches.
"""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module(name="BNLinearHead")
class BNLinearHead(BaseDecodeHead):  # type: ignore[misc]  # mmseg has no types
    """One map BDHW to logits BKHW: BatchNorm, then a linear map of each patch.

    `norm_cfg` is SyncBN unless said otherwise; its statistics are those of the images seen in training.
    """

    def __init__(self, in_channels: int, *, norm_cfg: Any = None, **kwargs: Any) -> None:
        norm_cfg = norm_cfg or {"type": "SyncBN", "requires_grad": True}
        super().__init__(in_channels, in_channels, norm_cfg=norm_cfg, **kwargs)
        self.norm = build_norm_layer(norm_cfg, in_channels)[1]

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        logits_BKHW: Tensor = self.cls_seg(self.norm(self._transform_inputs(inputs)))
        return logits_BKHW
