"""The sizes of one InternViT, as the hub's config.json states them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from ..errors import InvalidInput

# What the hub's configuration class assumes when a config.json leaves a key out
# (configuration_intern_vit.py in OpenGVLab/InternViT-6B-224px): the older files predate some keys.
HUB_DEFAULTS = {
    "norm_type": "rms_norm",
    "qk_normalization": True,
    "qkv_bias": False,
    "layer_norm_eps": 1e-6,
    "drop_path_rate": 0.0,
    "initializer_range": 0.02,
    "initializer_factor": 0.1,
}
# Keys with one supported value: anything else would be another network.
FIXED = {"num_channels": 3, "hidden_act": "gelu", "dropout": 0.0, "attention_dropout": 0.0}
POSITIVE = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "image_size",
    "patch_size",
)


@dataclass(frozen=True)
class ViTConfig:
    """Sizes and variants of an InternViT; names equal the hub's config.json."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    image_size: int  # pixels per side the position embeddings were made for
    patch_size: int
    norm_type: str  # "rms_norm" (6B) or "layer_norm" (300M)
    qk_normalization: bool
    qkv_bias: bool
    layer_norm_eps: float
    drop_path_rate: float  # of the last layer; earlier ones grow linearly from 0
    initializer_range: float  # standard deviation of the first weights
    initializer_factor: float  # first value of the layer scales

    def __post_init__(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidInput(f"ViTConfig.{name} must be a positive integer, got {value!r}")
        if self.hidden_size % self.num_attention_heads:
            raise InvalidInput(
                f"hidden_size {self.hidden_size} is not divisible by {self.num_attention_heads} heads"
            )
        if self.image_size % self.patch_size:
            raise InvalidInput(
                f"image_size {self.image_size} is not divisible by patch_size {self.patch_size}"
            )
        if self.norm_type not in ("rms_norm", "layer_norm"):
            raise InvalidInput(f"norm_type must be 'rms_norm' or 'layer_norm', got {self.norm_type!r}")
        if not 0 <= self.drop_path_rate < 1:
            raise InvalidInput(f"drop_path_rate must be in [0, 1), got {self.drop_path_rate}")

    @property
    def grid(self) -> int:
        """Patches per side of an image of `image_size`."""
        return self.image_size // self.patch_size

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The config in a hub config.json, of an InternViT or a full InternVL (`force_image_size` counts)."""
        vision = data.get("vision_config")
        if isinstance(vision, Mapping):
            forced = data.get("force_image_size")
            data = {**vision, "image_size": forced} if forced else vision
        for name, only in FIXED.items():
            if data.get(name, only) != only:
                raise InvalidInput(
                    f"{name}={data[name]!r} is not an InternViT polylens knows; expected {only!r}"
                )
        missing = [name for name in POSITIVE if name not in data]
        if missing:
            raise InvalidInput(f"config.json of an InternViT lacks {', '.join(missing)}")
        return cls(
            **{name: data[name] for name in POSITIVE},
            **{name: data.get(name, default) for name, default in HUB_DEFAULTS.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """The hub's config.json for this model, readable by `from_dict`."""
        return {
            "architectures": ["InternVisionModel"],
            "model_type": "intern_vit_6b",
            **FIXED,
            **asdict(self),
        }
