"""Sliding-window inference with several windows in one forward pass.

Letters of the shapes: B batch, C colours, K classes, H and W pixels.
"""

from itertools import product
from typing import Any

from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, cat


@MODELS.register_module(name="SlidingEncoderDecoder")
class SlidingEncoderDecoder(EncoderDecoder):  # type: ignore[misc]  # mmseg has no types
    """mmseg's EncoderDecoder whose windows of the mode 'slide' go through the network `windows` at a time.

    `test_cfg=dict(mode="slide", crop_size=..., stride=..., windows=8)`; windows=1 is what mmseg does.
    """

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Logits BKHW: the mean over the windows that cover a pixel."""
        height, width = inputs.shape[2:]
        rows = spans(height, self.test_cfg.crop_size[0], self.test_cfg.stride[0])
        columns = spans(width, self.test_cfg.crop_size[1], self.test_cfg.stride[1])
        places = list(product(rows, columns))
        step = max(1, int(self.test_cfg.get("windows", 8)) // len(inputs))
        logits_BKHW = inputs.new_zeros(len(inputs), self.out_channels, height, width)
        covered_11HW = inputs.new_zeros(1, 1, height, width)
        for start in range(0, len(places), step):
            group = places[start : start + step]
            windows = cat([inputs[:, :, top:bottom, left:right] for (top, bottom), (left, right) in group])
            metas = [{**batch_img_metas[0], "img_shape": windows.shape[2:]}]
            parts = self.encode_decode(windows, metas).chunk(len(group))
            for ((top, bottom), (left, right)), part in zip(group, parts, strict=True):
                logits_BKHW[:, :, top:bottom, left:right] += part
                covered_11HW[:, :, top:bottom, left:right] += 1
        return logits_BKHW / covered_11HW


def spans(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """Beginning and end of the windows along one side; the last is moved back so that it ends with it."""
    count = max(length - window + stride - 1, 0) // stride + 1
    ends = [min(index * stride + window, length) for index in range(count)]
    return [(max(end - window, 0), end) for end in ends]
