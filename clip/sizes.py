"""Published sizes of InternVL-C and -G, and sizes read off a checkpoint without a config."""

import math
import re
from dataclasses import replace

from ..backbone.config import ViTConfig
from ..backbone.errors import BadCheckpoint, some
from ..backbone.weights import Weights
from .config import InternVLConfig, QLLaMAConfig

# hub: OpenGVLab/InternVL-14B-224px, config.json; the paper (Chen et al. 2023, arXiv 2312.14238), section 3.2.
INTERNVL_14B_224PX = InternVLConfig(
    vision_config=ViTConfig(
        hidden_size=3200,
        num_hidden_layers=48,
        num_attention_heads=25,
        intermediate_size=12800,
        image_size=224,
        patch_size=14,
        norm_type="rms_norm",
        qk_normalization=True,
        qkv_bias=False,
        layer_norm_eps=1e-6,
        drop_path_rate=0.0,
        initializer_range=1e-10,
        initializer_factor=0.1,
    ),
    qllama_config=QLLaMAConfig(
        vocab_size=49954,
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        intermediate_size=11008,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        initializer_range=0.02,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    ),
    clip_embed_dim=768,
    attn_pool_num_heads=16,
    num_query_token=96,
    cross_attention_frequency=2,
    force_image_size=0,
    use_backbone_lora=0,
    use_qllama_lora=0,
    tie_word_embeddings=None,
)

# The tensors whose shapes tell the sizes, in the hub's names.
PATCHES = "vision_model.embeddings.patch_embedding.weight"
POSITIONS = "vision_model.embeddings.position_embedding"
VISION_MLP = "vision_model.encoder.layers.0.mlp.fc1.weight"
EMBEDDING = "qllama.model.embed_tokens.weight"
TEXT_MLP = "qllama.model.layers.0.mlp.gate_proj.weight"
PROJECTION = "text_projection"


def config_of_shapes(weights: Weights) -> InternVLConfig:
    """The config of an InternVL-C without config.json: sizes from the shapes, the rest as published.

    Shapes do not tell numbers of heads, so widths other than the published ones are refused.
    """
    telling = (PATCHES, POSITIONS, VISION_MLP, EMBEDDING, TEXT_MLP, PROJECTION)
    if missing := [name for name in telling if name not in weights]:
        raise BadCheckpoint(f"not a checkpoint of InternVL-C; it lacks {some(missing)}")
    known = INTERNVL_14B_224PX
    vision_width, _, _, patch_size = weights.shape(PATCHES)
    vocab_size, text_width = weights.shape(EMBEDDING)
    if (vision_width, text_width) != (known.vision_config.hidden_size, known.qllama_config.hidden_size):
        raise BadCheckpoint(
            f"widths {vision_width} and {text_width} are not the published ones, and a checkpoint without "
            "config.json does not tell its numbers of attention heads: pass config=InternVLConfig(...)"
        )
    vision = replace(
        known.vision_config,
        num_hidden_layers=count_layers(weights, r"vision_model\.encoder\.layers\.(\d+)\..+"),
        intermediate_size=weights.shape(VISION_MLP)[0],
        image_size=math.isqrt(weights.shape(POSITIONS)[1] - 1) * patch_size,
        patch_size=patch_size,
    )
    qllama = replace(
        known.qllama_config,
        vocab_size=vocab_size,
        num_hidden_layers=count_layers(weights, r"qllama\.model\.layers\.(\d+)\..+"),
        intermediate_size=weights.shape(TEXT_MLP)[0],
    )
    embed_dim = weights.shape(PROJECTION)[1]
    return replace(known, vision_config=vision, qllama_config=qllama, clip_embed_dim=embed_dim)


def count_layers(weights: Weights, pattern: str) -> int:
    """One more than the highest layer number a name gives."""
    return 1 + max(int(match[1]) for name in weights if (match := re.fullmatch(pattern, name)))
