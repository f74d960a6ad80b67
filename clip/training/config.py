"""What one training run is: a frozen record read from a TOML file, every field with its meaning."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...backbone.saved_runs import read_settings
from ...errors import InvalidInput

# What takes images in every step, and the head start that would undo what the text tower knows.
MOVES_IMAGES = (
    "contrast",
    "image_contrast",
    "muon_learning_rate",
    "patch_dropout",
    "small_steps",
    "bag_steps",
)


@dataclass(frozen=True)
class TrainConfig:
    """A contrastive run. Sizes count over all processes; `steps` counts optimiser steps."""

    # Data
    pairs: tuple[str, ...]  # webdataset tars or parquet tables with images (see data.py)
    texts: str | None  # a parquet table of further texts by group (see data.py)
    model: str  # a checkpoint folder to fine-tune, or a config.json to start from random weights
    tokenizer: str  # a folder holding tokenizer.model
    # Length
    steps: int
    batch_size: int  # images in one optimiser step
    text_batch_size: int | None = None  # texts in a step, those beyond the images of any group; None: as many
    accumulate: int = 1  # micro-batches in one optimiser step; each is contrasted within itself
    # Optimiser: AdamW (Loshchilov & Hutter, ICLR 2019), linear warm-up, then a cosine to zero
    learning_rate: float = 1e-3
    embedding_learning_rate: float | None = None  # token embeddings and proxies; None: as the rest
    muon_learning_rate: float = 0.0  # above 0: the vision layers' matrices take Muon at this rate (muon.py)
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = 100
    gradient_clip: float = 1.0
    precision: str = "auto"  # "auto" (bf16 on CUDA, else fp32), "fp32", "bf16"
    lock_image: bool = False  # only texts are learned, to meet the images where they are (locked.py)
    # Loss
    label_smoothing: float = 0.0
    contrast: float = 1.0  # weight of images against texts
    image_contrast: float = 0.0  # weight of images against images of the same group
    proxies: float = 0.0  # weight of both towers against one learned vector a group (loss.py)
    proxy_distance: float = 0.0  # with lock_image: weight of the squared distance of texts from their vector
    max_logit_scale: float = 100.0
    bag_steps: int = 0  # steps of the bag-of-words head start of the text tower (bag.py); needs proxies
    bag_batch_size: int = 2048
    # Views
    patch_dropout: float = 0.0  # share of patches left out in training (FLIP, Li et al. CVPR 2023)
    whole_steps: int = 0  # the last steps leave none out, as FLIP's "unmasked tuning" does
    small_size: int = 0  # side of the first steps' images in pixels; positions are resized
    small_steps: int = 0
    augment: bool = False  # the style augmentation of augment.py
    name_share: float = 0.5  # share of texts that are names, where the text table marks them
    max_text_tokens: int = 80
    start_languages: tuple[str, ...] = ()  # only these for the first `start_steps`; () for all from the start
    start_steps: int = 0
    # Housekeeping
    seed: int = 0
    save_every: int = 500
    log_every: int = 20

    def __post_init__(self) -> None:
        if self.batch_size % self.accumulate:
            raise InvalidInput(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}"
            )
        if (self.text_batch_size or 0) % self.accumulate:
            raise InvalidInput(
                f"text_batch_size {self.text_batch_size} is not a multiple of accumulate {self.accumulate}"
            )
        if self.precision not in ("auto", "fp32", "bf16"):
            raise InvalidInput(f"precision is {self.precision!r}; expected auto, fp32 or bf16")
        if self.small_steps and self.small_size < 1:
            raise InvalidInput(f"small_steps is {self.small_steps}, but small_size is {self.small_size}")
        if not 0 <= self.patch_dropout < 1:
            raise InvalidInput(f"patch_dropout is {self.patch_dropout}; expected at least 0 and below 1")
        if self.lock_image and (moving := [name for name in MOVES_IMAGES if getattr(self, name)]):
            raise InvalidInput(f"with lock_image no image is encoded in a step; set {', '.join(moving)} to 0")
        if self.lock_image and not self.proxies:
            raise InvalidInput("lock_image needs proxies, which texts are held to; set proxies above 0")
        if self.proxy_distance and not self.lock_image:
            raise InvalidInput(
                f"proxy_distance is {self.proxy_distance}, but proxies move; expected 0, or lock_image = true"
            )
        for name in ("steps", "batch_size", "accumulate", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; expected at least 1")

    @classmethod
    def from_toml(cls, path: Path, **overrides: Any) -> Self:
        """The run that `path` describes; relative paths in it are taken from the file's own folder."""
        values = {"texts": None, **read_settings(path, cls, overrides, optional=("texts",))}
        for name in ("texts", "model", "tokenizer"):
            if values[name] is not None:
                values[name] = str(path.parent / values[name])
        values["pairs"] = tuple(str(path.parent / p) for p in values["pairs"])
        for name in ("betas", "start_languages"):
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)
