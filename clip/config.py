"""Frozen sizes of InternVL: the text tower's (QLLaMAConfig) and the whole model's (InternVLConfig)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..backbone.config import ViTConfig
from ..errors import InvalidInput


@dataclass(frozen=True)
class QLLaMAConfig:
    """Sizes of the text tower, a LLaMA (Touvron et al. 2023) in the layout of InternVL's `qllama_config`."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    rms_norm_eps: float
    rope_theta: float
    initializer_range: float
    bos_token_id: int
    eos_token_id: int
    pad_token_id: int

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is int and not field.name.endswith("_token_id"):
                _check_positive("qllama_config", field.name, getattr(self, field.name))
        if self.hidden_size % (2 * self.num_attention_heads):
            raise InvalidInput(
                f"qllama_config: hidden_size {self.hidden_size} must be an even multiple of "
                f"num_attention_heads {self.num_attention_heads} (rotary positions turn pairs of channels)"
            )
        if self.pad_token_id != 0:
            raise InvalidInput(f"qllama_config: pad_token_id is {self.pad_token_id}; InternVL pads with 0")

    @property
    def head_width(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "QLLaMAConfig":
        """The sizes in a hub `qllama_config`; settings this text tower does not have are refused."""
        heads = values.get("num_attention_heads")
        supported = {
            "hidden_act": ("silu",),
            "rope_scaling": (None,),
            "attention_bias": (False,),
            "num_key_value_heads": (None, heads),
        }
        for name, allowed in supported.items():
            if values.get(name, allowed[0]) not in allowed:
                raise InvalidInput(f"qllama_config: {name} must be {allowed[-1]!r}, got {values[name]!r}")
        # LLaMA's own constants, absent from configs written before transformers 4.31.
        known = {"rope_theta": 10000.0, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **values}
        return cls(**_select(cls, "qllama_config", known))

    def to_dict(self) -> dict[str, Any]:
        """The values under `qllama_config` in a hub config.json."""
        return {"model_type": "llama", "hidden_act": "silu", **asdict(self)}


@dataclass(frozen=True)
class InternVLConfig:
    """Sizes of InternVL-C and -G, as in the hub's config.json.

    `force_image_size` is the size a checkpoint was fine-tuned at, `use_backbone_lora` and `use_qllama_lora`
    are the ranks of its adapters, 0 where there are none. `tie_word_embeddings` is None when nothing is said.
    """

    vision_config: ViTConfig
    qllama_config: QLLaMAConfig
    clip_embed_dim: int
    attn_pool_num_heads: int
    num_query_token: int
    cross_attention_frequency: int
    force_image_size: int
    use_backbone_lora: int
    use_qllama_lora: int
    tie_word_embeddings: bool | None

    def __post_init__(self) -> None:
        for name in ("clip_embed_dim", "attn_pool_num_heads", "num_query_token", "cross_attention_frequency"):
            _check_positive("config", name, getattr(self, name))
        for name in ("force_image_size", "use_backbone_lora", "use_qllama_lora"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"config: {name} must not be negative, got {getattr(self, name)}")
        for width in (self.vision_config.hidden_size, self.qllama_config.hidden_size):
            if width % self.attn_pool_num_heads:
                heads = self.attn_pool_num_heads
                raise InvalidInput(f"config: attn_pool_num_heads {heads} does not divide the width {width}")

    @property
    def vision(self) -> ViTConfig:
        """The vision tower's sizes at the size it really runs at (`force_image_size` where one is set)."""
        return replace(self.vision_config, image_size=self.force_image_size or self.vision_config.image_size)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "InternVLConfig":
        """The sizes in a hub config.json.

        `qllama_config` decides whether this is an InternVL: `model_type: "internvl"` nowadays names another
        architecture in transformers.
        """
        if "qllama_config" not in values or "vision_config" not in values:
            raise InvalidInput(
                "config.json is not an InternVL-C/-G config: it needs vision_config and qllama_config "
                f"(model_type is {values.get('model_type')!r})"
            )
        qllama = values["qllama_config"]
        # The original does not write the frequency at the top level; every published checkpoint uses 2.
        frequency = values.get("cross_attention_frequency", qllama.get("cross_attention_frequency", 2))
        known = {
            **values,
            "vision_config": ViTConfig.from_dict(values["vision_config"]),
            "qllama_config": QLLaMAConfig.from_dict(qllama),
            "cross_attention_frequency": frequency,
            "tie_word_embeddings": values.get("tie_word_embeddings"),
        }
        for name in ("force_image_size", "use_backbone_lora", "use_qllama_lora"):
            known[name] = values.get(name) or 0
        return cls(**_select(cls, "config", known))

    def to_dict(self) -> dict[str, Any]:
        """The hub's config.json."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shared = {name: values[name] for name in ("num_query_token", "cross_attention_frequency")}
        values["vision_config"] = self.vision_config.to_dict()
        values["qllama_config"] = {**self.qllama_config.to_dict(), **shared}
        values["force_image_size"] = self.force_image_size or None
        if self.tie_word_embeddings is None:
            del values["tie_word_embeddings"]
        return {"model_type": "internvl", **values}


def _check_positive(where: str, name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise InvalidInput(f"{where}: {name} must be a positive whole number, got {value!r}")


def _select(cls: type, where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    names = [field.name for field in fields(cls)]
    if missing := [name for name in names if name not in values]:
        raise InvalidInput(f"{where} lacks {', '.join(missing)}")
    return {name: values[name] for name in names}
