"""What one probe's training is: a frozen record read from a TOML file, every field with its meaning."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...errors import InvalidInput
from ..saved_runs import read_settings
from .heads import check_kind

CONFIGS = Path(__file__).parent / "configs"
RECIPES = ("cheap", "exact")


@dataclass(frozen=True)
class ProbeConfig:
    """A linear probe. The defaults are the published ImageNet recipe; sizes count over all processes."""

    model: str  # a checkpoint folder, a .pth file or a hub id
    # The features
    recipe: str = "exact"  # "exact": new views in every epoch; "cheap": features are computed before
    passes: int = 0  # cheap: augmented views of each image that are computed; 0: one plain view
    head: str = "cls_patch_concat"  # see heads.py
    layers: tuple[int, ...] = (-1,)  # a probe for each: layers passed, or from the end
    image_size: int = 0  # pixels; 0: the model's own; positions are resized
    patch_size: int = 0  # pixels; 0: the model's own; the kernel is resized
    precision: str = "auto"  # of the backbone: "auto" (bfloat16 on CUDA, else float32) or a dtype
    feature_dtype: str = "float16"  # of the features on disk: "float16" or "float32"
    # The classes
    classes: int = 0  # how many the training data must have; 0: any number
    validation: float = 0.2  # share of the images that is kept for validation where the data has none
    # The training
    learning_rates: tuple[float, ...] = (0.1,)  # per 512 images; a probe for each
    epochs: int = 10
    warmup_epochs: float = 1.0  # linear, then a cosine to zero
    batch_size: int = 1024
    momentum: float = 0.9
    weight_decay: float = 0.0
    ema: float = 0.998  # decay of the averaged weights, which are the ones kept; shorter at the beginning
    crop_scale: tuple[float, float] = (0.08, 1.0)  # share of the area that a random crop keeps
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width by height of the crop
    flip: bool = True
    # Housekeeping
    seed: int = 0
    workers: int = 0  # threads that decode; 0: as many as cores
    feature_batch: int = 64  # images in one pass of the backbone
    save_every: int = 500
    log_every: int = 20

    def __post_init__(self) -> None:
        check_kind(self.head)
        allowed = {"recipe": RECIPES, "feature_dtype": ("float16", "float32")}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; expected {' or '.join(values)}")
        for name in ("epochs", "batch_size", "feature_batch", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("passes", "image_size", "patch_size", "classes", "warmup_epochs", "weight_decay"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} is {getattr(self, name)}; expected at least 0")
        for name in ("ema", "momentum", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; expected at least 0 and below 1")
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise InvalidInput(f"learning_rates are {list(self.learning_rates)}; expected numbers above 0")
        for name in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise InvalidInput(f"{name} is {[low, high]}; expected two numbers above 0, ascending")

    @classmethod
    def from_toml(cls, source: str | Path, **overrides: Any) -> Self:
        """The probe that a TOML file, or one of the published rows by its name, describes.

        `overrides` that are not None replace the file's values. A model that lies beside the file may be
        named relative to it.
        """
        path = named(source)
        values = read_settings(path, cls, overrides)
        for name in ("layers", "learning_rates", "crop_scale", "crop_ratio"):
            if name in values:
                values[name] = tuple(values[name])
        if overrides.get("model") is None and (path.parent / values["model"]).exists():
            values["model"] = str(path.parent / values["model"])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All settings, as JSON can hold them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }


def named(source: str | Path) -> Path:
    """The file of a published row's name, or the file itself."""
    shipped = CONFIGS / f"{source}.toml"
    if shipped.is_file():
        return shipped
    if not Path(source).is_file():
        names = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.toml")))
        raise InvalidInput(f"{str(source)!r} is neither a TOML file nor one of the shipped ones: {names}")
    return Path(source)
