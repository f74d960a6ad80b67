"""Semantic segmentation: InternViT in mmsegmentation's configs.

`import polylens.segmentation`, or `custom_imports = dict(imports=["polylens.segmentation"])` in a config,
registers with mmseg the backbone InternViT, the head BNLinearHead, the segmentor SlidingEncoderDecoder, the
optimiser constructor InternViTLayerDecay, the transform ResizeToPatches, the data set FewShot and the hooks
CheckBeforeTraining and KeepRandomState.
"""

from .mends import mend

mend()  # before anything imports mmseg

from .backbone import InternViTBackbone  # noqa: E402
from .checks import CheckBeforeTraining  # noqa: E402
from .few_shot import few_shot  # noqa: E402
from .layer_decay import InternViTLayerDecay  # noqa: E402
from .linear_head import BNLinearHead  # noqa: E402
from .names import to_original  # noqa: E402
from .resume import KeepRandomState  # noqa: E402
from .segmentor import SlidingEncoderDecoder  # noqa: E402
from .sharding import each_layer  # noqa: E402
from .transforms import ResizeToPatches  # noqa: E402

__all__ = [
    "BNLinearHead",
    "CheckBeforeTraining",
    "InternViTBackbone",
    "InternViTLayerDecay",
    "KeepRandomState",
    "ResizeToPatches",
    "SlidingEncoderDecoder",
    "each_layer",
    "few_shot",
    "mend",
    "to_original",
]
