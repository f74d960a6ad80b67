"""What a model must offer to become an `Encoder`; internvl.py and open_clip.py adapt two families to it.

Letters of the shapes: B batch, C colours, H and W pixels, L token positions, D embedding width.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor


class DualEncoder(Protocol):
    """An image tower and a text tower with one vector space, and how their inputs are prepared.

    `logit_scale` multiplies cosines (it is e to the stored parameter). `prepare_*` are called from many
    threads at once, `embed_*` in inference mode.
    """

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def logit_scale(self) -> float: ...
    @property
    def max_text_tokens(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...

    def prepare_image(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """pixels_CHW of a decoded image, always of the same shape."""

    def prepare_text(self, text: str) -> npt.NDArray[np.int64]:
        """ids_L, cut to `max_text_tokens`; a batch is padded with 0 on the right to its longest text."""

    def text_truncated(self, text: str) -> bool:
        """Whether `prepare_text` drops the end of the text."""

    def embed_images(self, pixels_BCHW: Tensor) -> Tensor:
        """vectors_BD, not normalised, of any dtype and device."""

    def embed_texts(self, ids_BL: Tensor) -> Tensor:
        """vectors_BD, not normalised, of any dtype and device."""
