"""Published sizes of InternVL-C and -G, and sizes read off a checkpoint without a config."""

import re
from dataclasses import replace

from ..backbone.errors import BadCheckpoint, some
from ..backbone.renames import VISION_PREFIX
from ..backbone.shapes import config_from_shapes
from ..backbone.sizes import INTERNVIT_6B_224PX
from ..backbone.weights import Weights
from .config import InternVLConfig, QLLaMAConfig

# hub: OpenGVLab/InternVL-14B-224px; paper: Chen et al. 2023, arXiv 2312.14238, section 3.2. Its text tower
# is a Chinese-LLaMA-Alpaca 7B, whose config.json is in the original's clip_benchmark (internvl_c_pytorch).
INTERNVL_14B_224PX = InternVLConfig(
    vision_config=INTERNVIT_6B_224PX,
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

TEXT_LAYER = re.compile(r"qllama\.model\.layers\.(\d+)\..+")


def config_of_shapes(weights: Weights) -> InternVLConfig:
    """The config of an InternVL-C without config.json: sizes from the shapes, the rest as published.

    Shapes do not tell numbers of heads, so a text tower of another width than the published is refused.
    """
    shapes = {name: weights.shape(name) for name in weights}
    telling = (
        "qllama.model.embed_tokens.weight",
        "qllama.model.layers.0.mlp.gate_proj.weight",
        "text_projection",
    )
    if missing := [name for name in telling if name not in shapes]:
        raise BadCheckpoint(f"not a checkpoint of InternVL-C, it lacks {some(missing)}")
    (vocab_size, width), (mlp_width, _), (_, embed_dim) = (shapes[name] for name in telling)
    published = INTERNVL_14B_224PX
    if width != published.qllama_config.hidden_size:
        raise BadCheckpoint(
            f"no published text tower is {width} wide, so the file alone does not tell the number of heads: "
            "pass config="
        )
    vision = {name.removeprefix(VISION_PREFIX): shape for name, shape in shapes.items()}
    qllama = replace(
        published.qllama_config,
        vocab_size=vocab_size,
        num_hidden_layers=1 + max(int(match[1]) for name in shapes if (match := TEXT_LAYER.fullmatch(name))),
        intermediate_size=mlp_width,
    )
    return replace(
        published, vision_config=config_from_shapes(vision), qllama_config=qllama, clip_embed_dim=embed_dim
    )
