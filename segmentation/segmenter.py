"""A trained checkpoint at work: pictures in, class maps out; what `polylens serve` and `segment predict` use.

Letters of the shapes: H and W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmseg.apis import init_model
from PIL import Image

from ..backbone.device import pick_device
from ..backbone.fingerprint import fingerprint
from ..backbone.weights import open_weights
from .checks import check_checkpoint
from .errors import BadRun
from .overlay import Legend, class_map, shares
from .runs import check_run, load_config

SERVED_PIXELS = 1 << 20  # with 150 classes the logits of one picture then take 600 MB


@dataclass(frozen=True)
class Prepared:
    """A picture as the network takes it, and its own width and height."""

    data: Any
    size: tuple[int, int]


class Segmenter:
    """A network in eval mode with the classes that its checkpoint, or else the config's data set, names.

    A picture of more than `max_pixels` is looked at smaller, and its class map enlarged.
    """

    def __init__(
        self,
        config: Config,
        checkpoint: str | Path,
        *,
        device: str = "auto",
        max_pixels: int | None = None,
    ) -> None:
        model = check_run(config, ())
        check_checkpoint(model, open_weights(checkpoint), str(checkpoint))
        self._network = init_model(config, str(checkpoint), device=str(pick_device(device)))
        self._pipeline, self._max_pixels = Compose(steps(config)), max_pixels
        meta = self._network.dataset_meta
        self.legend = Legend(names=meta["classes"], palette=meta["palette"])
        self._spec = {"model": repr(config.model.to_dict()), "classes": list(self.legend.names)}

    @cached_property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that differ when another model, weights or classes are used."""
        return fingerprint(self._network.state_dict(), self._spec)

    @classmethod
    def load(cls, config: str, checkpoint: Path, *, device: str = "auto") -> Self:
        """For a server, by the name of a shipped config or the path of one."""
        found = cls(load_config(config), checkpoint, device=device, max_pixels=SERVED_PIXELS)
        _ = found.fingerprint  # takes seconds for a large model: not when somebody waits
        return found

    @property
    def names(self) -> Sequence[str]:
        """The classes, as the class map counts them."""
        return self.legend.names

    @property
    def palette(self) -> Sequence[Sequence[int]]:
        """Red, green and blue of each class, 0 to 255."""
        return self.legend.palette

    def prepare(self, picture: Image.Image, /) -> Prepared:
        """What `segment` takes; may run in another thread than it."""
        looked_at = picture.convert("RGB")
        if self._max_pixels is not None and looked_at.width * looked_at.height > self._max_pixels:
            scale = (self._max_pixels / (looked_at.width * looked_at.height)) ** 0.5
            sides = [max(1, int(side * scale)) for side in looked_at.size]
            looked_at = looked_at.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
        bgr = np.ascontiguousarray(np.asarray(looked_at)[:, :, ::-1])
        return Prepared(self._pipeline({"img": bgr}), picture.size)

    @torch.inference_mode()
    def classes(self, prepared: Prepared) -> np.ndarray:
        """The class of each pixel, uint8 (H, W) in the picture's size."""
        batch = {"inputs": [prepared.data["inputs"]], "data_samples": [prepared.data["data_samples"]]}
        (sample,) = self._network.test_step(batch)
        found: np.ndarray = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
        if found.shape[::-1] != prepared.size:
            enlarged = Image.fromarray(found).resize(prepared.size, Image.Resampling.NEAREST)
            found = np.asarray(enlarged)
        return found

    def segment(self, prepared: Prepared, /) -> tuple[Image.Image, dict[str, float]]:
        """A picture with palette whose values are classes, and the share of each class that occurs."""
        classes_HW = self.classes(prepared)
        return class_map(classes_HW, self.legend), shares(classes_HW, self.legend.names)


def steps(config: Config) -> list[Any]:
    """What `segment test` does to a picture, for one in memory that has no mask."""
    if config.get("test_dataloader") is not None:
        pipeline = config.test_dataloader.dataset.pipeline
    else:
        pipeline = config.get("test_pipeline")
    if not pipeline:
        raise BadRun("the config has neither test_pipeline nor test_dataloader")
    kept = [step for step in pipeline[1:] if "LoadAnnotations" not in str(step.type)]
    return [{"type": "mmseg.LoadImageFromNDArray"}, *kept]
