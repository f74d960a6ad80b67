"""Four levels of features, as UperNet wants them, from a backbone that has one.

Letters of the shapes: B batch, D width, H and W rows and columns of patches.
"""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of BDHW; the statistics are those of each place."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

    def forward(self, x_BDHW: Tensor) -> Tensor:
        x_BHWD = x_BDHW.movedim(1, -1)
        return F.layer_norm(x_BHWD, self.normalized_shape, self.weight, self.bias, self.eps).movedim(-1, 1)


class Pyramid(nn.ModuleDict):
    """BDHW at four depths to the same at 4, 2, 1 and 1/2 times the size.

    `final_norm` adds a norm at the end of each level. Names as in the original's checkpoints: up1 to up4.
    """

    def __init__(self, width: int, *, final_norm: bool = False) -> None:
        super().__init__()

        def twice() -> nn.Module:
            return nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)

        def last() -> nn.Module:
            return ChannelNorm(width) if final_norm else nn.Identity()

        self["up1"] = nn.Sequential(twice(), ChannelNorm(width), nn.GELU(), twice(), last())
        self["up2"] = nn.Sequential(twice(), last())
        self["up3"] = nn.Sequential(nn.Identity(), last())
        self["up4"] = nn.Sequential(nn.MaxPool2d(kernel_size=2, stride=2), last())
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 / (4 * width)))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return [up(level) for up, level in zip(self.values(), levels, strict=True)]
