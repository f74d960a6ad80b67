"""Few-shot subsets of a training set."""

from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from ..errors import InvalidInput


@DATASETS.register_module(name="FewShot")  # type: ignore[untyped-decorator]  # mmengine has no types
def few_shot(of: str, images: int, seed: int = 0, **settings: Any) -> BaseDataset:
    """The data set `of` with these settings, and of it `images` images, drawn by `seed`.

    The original drew anew in each process; here every process and every resumed run has the same images.
    """
    whole: BaseDataset = DATASETS.build({"type": of, **settings})
    whole.full_init()
    if not 0 < images <= len(whole):
        raise InvalidInput(f"FewShot asks for {images} images of a data set that has {len(whole)}")
    chosen = np.random.default_rng(seed).choice(len(whole), size=images, replace=False)
    whole.get_subset_(sorted(chosen.tolist()))
    return whole
