"""A trained probe as one small file, and the classifier that it makes of a backbone.

Letters of the shapes: N images, B batch, C classes.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import InvalidInput
from ...whole import write_whole
from ..checkpoint import load_into
from ..errors import BadCheckpoint
from ..images import ImageSource, open_image
from ..pixels import Preprocess
from .frozen import Frozen, freeze
from .heads import Head
from .views import Pixels

FORMAT = "polylens-probe-1"


@dataclass(frozen=True)
class About:
    """What must be known of a probe besides its weights."""

    classes: tuple[str, ...]
    head: str  # see heads.py
    width: int  # of the head's features
    num_heads: int  # of its attention, where it has one
    layer: int  # how many layers the tokens have passed
    image_size: int
    patch_size: int
    model: str  # where the backbone was loaded from
    fingerprint: str  # of the backbone: another one is refused
    training: dict[str, Any] = field(default_factory=dict)  # settings and figures, for people


def describe(
    frozen: Frozen, layer: int, classes: Sequence[str], model: str, training: dict[str, Any]
) -> About:
    """The description of a probe on this backbone."""
    config = frozen.vit.config
    return About(
        classes=tuple(classes),
        head=frozen.kind,
        width=frozen.width,
        num_heads=config.num_attention_heads,
        layer=layer,
        image_size=config.image_size,
        patch_size=config.patch_size,
        model=model,
        fingerprint=frozen.fingerprint,
        training=training,
    )


@dataclass(frozen=True)
class Probe:
    """A head in eval mode and what it was trained on."""

    head: Head
    about: About

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the logits."""
        return self.about.classes

    def save(self, path: str | Path) -> None:
        """Nothing; the file (.safetensors) is then the whole probe, without its backbone."""
        tensors = {
            name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()
        }
        metadata = {"format": FORMAT, "probe": json.dumps(asdict(self.about))}
        write_whole(Path(path), lambda temporary: save_file(tensors, str(temporary), metadata=metadata))

    @classmethod
    def load(cls, path: str | Path) -> "Probe":
        """The probe in a file that `save` wrote, strictly: names, shapes and number of classes must fit."""
        about = read_about(Path(path))
        head = Head(about.head, about.width, len(about.classes), about.num_heads)
        with safe_open(str(path), framework="pt") as file:
            load_into(head, {name: file.get_tensor(name) for name in file.keys()})
        return cls(head.eval().requires_grad_(False), about)


def read_about(path: Path) -> About:
    """The description in a probe's file, or `BadCheckpoint`."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"{path} is not a readable probe: {error}") from error
    if metadata.get("format") != FORMAT:
        raise BadCheckpoint(f"{path} is no probe: its format is {metadata.get('format')!r}, not {FORMAT!r}")
    try:
        values = json.loads(metadata["probe"])
        return About(**{**values, "classes": tuple(values["classes"])})
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(f"{path} does not describe its probe: {error}") from error


class Classifier:
    """Images to probabilities of the probe's classes."""

    def __init__(self, probe: Probe, frozen: Frozen) -> None:
        """The backbone must be the one that the probe was trained on."""
        if frozen.fingerprint != probe.about.fingerprint:
            raise InvalidInput(
                f"the probe was trained on another backbone ({probe.about.model}, fingerprint "
                f"{probe.about.fingerprint[:12]}), this one is {frozen.fingerprint[:12]}"
            )
        self.probe, self.frozen = probe, frozen
        self.head = probe.head.to(next(frozen.vit.parameters()).device)

    @classmethod
    def open(
        cls,
        path: str | Path,
        model: str | Path | None = None,
        *,
        dtype: str | torch.dtype = "auto",
        device: str | torch.device = "auto",
    ) -> "Classifier":
        """The classifier of a probe's file; `model` is its backbone where it lies elsewhere by now."""
        probe = Probe.load(path)
        about = probe.about
        frozen = freeze(
            model or about.model,
            about.head,
            (about.layer,),
            image_size=about.image_size,
            patch_size=about.patch_size,
            dtype=dtype,
            device=device,
        )
        return cls(probe, frozen)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the logits."""
        return self.probe.classes

    @property
    def preprocess(self) -> Preprocess:
        """How `prepare_image` makes pixels of a decoded image."""
        return Preprocess("classification", self.probe.about.image_size)

    def prepare_image(self, image: ImageSource) -> Pixels:
        """pixels_CHW float32 of one image, or `InvalidImage`."""
        return self.preprocess(open_image(image))

    def logits_of(self, pixels: Sequence[Pixels]) -> Pixels:
        """(N, C) float32 of prepared images."""
        features = self.frozen.features(torch.from_numpy(np.stack(pixels)))
        return self.logits(features).cpu().numpy()

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """(B, C) float32 of features (B, 1, ...) of the probe's layer."""
        device = self.head.head.weight.device
        logits_BC: Tensor = self.head(features[:, 0].to(device))
        return logits_BC

    def predict(
        self, images: Iterable[ImageSource], batch_size: int = 32
    ) -> Iterator[list[tuple[str, float]]]:
        """For each image all classes and their probabilities in [0, 1], best first."""
        batch: list[Pixels] = []
        for image in images:
            batch.append(self.prepare_image(image))
            if len(batch) == batch_size:
                yield from self._ranked(batch)
                batch = []
        if batch:
            yield from self._ranked(batch)

    def _ranked(self, pixels: Sequence[Pixels]) -> Iterator[list[tuple[str, float]]]:
        for probabilities_C in torch.from_numpy(self.logits_of(pixels)).softmax(1):
            order = probabilities_C.argsort(descending=True).tolist()
            yield [(self.probe.classes[i], float(probabilities_C[i])) for i in order]
