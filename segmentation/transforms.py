"""The test transform of the published recipes."""

from typing import Any

import mmcv
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..errors import InvalidInput


@TRANSFORMS.register_module(name="ResizeToPatches")
class ResizeToPatches(BaseTransform):  # type: ignore[misc]  # mmcv has no types
    """The image resized within `scale` with its shape kept, then up to whole patches of `multiple` pixels.

    `scale` is (longest, shorter) side. An image so long that its shorter side would come out below `shorter`
    is made larger: a crop of `shorter` pixels always fits. Put it before LoadAnnotations: a mask to compare
    with keeps its own size.
    """

    def __init__(self, scale: tuple[int, int], shorter: int = 0, multiple: int = 14) -> None:
        if len(scale) != 2 or min(scale) < 1 or multiple < 1:
            raise InvalidInput(f"ResizeToPatches needs two sides and a multiple, got {scale} and {multiple}")
        self.longest, self.side = max(scale), min(scale)
        self.shorter, self.multiple = shorter, multiple

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """The results with `img` resized, and what mmseg keeps about its size."""
        height, width = results["img"].shape[:2]
        factor = min(self.longest / max(height, width), self.side / min(height, width))
        factor = max(factor, self.shorter / min(height, width))
        # Two steps of bilinear interpolation, as the original's two transforms.
        kept = mmcv.imresize(results["img"], (round(width * factor), round(height * factor)))
        whole = [-(-side // self.multiple) * self.multiple for side in kept.shape[:2]]
        image = mmcv.imresize(kept, (whole[1], whole[0]))
        results["img"] = image
        results["img_shape"] = results["pad_shape"] = image.shape[:2]
        results["scale"] = (whole[1], whole[0])
        results["scale_factor"] = (whole[1] / width, whole[0] / height)
        results["keep_ratio"] = True
        return results

    def __repr__(self) -> str:
        sides = f"scale={(self.longest, self.side)}, shorter={self.shorter}, multiple={self.multiple}"
        return f"{type(self).__name__}({sides})"
