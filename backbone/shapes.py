"""The config of a checkpoint that has none, from the names and shapes of its tensors."""

import math
import re
from collections.abc import Mapping

from .config import ViTConfig
from .errors import BadCheckpoint
from .sizes import SIZES

LAYER = re.compile(r"encoder\.layers\.(\d+)\.")


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> ViTConfig:
    """The config of an InternViT whose tensors have these hub names and shapes.

    Only the number of heads leaves no trace in the shapes: the published size of the same width gives it.
    """
    try:
        width, _, patch, _ = shapes["embeddings.patch_embedding.weight"]
        tokens = shapes["embeddings.position_embedding"][1]
        hidden = shapes["encoder.layers.0.mlp.fc1.weight"][0]
    except (KeyError, IndexError, ValueError) as error:
        raise BadCheckpoint(
            "the file holds no InternViT: patch embedding, positions or layers are missing"
        ) from error
    heads = {size.hidden_size: size.num_attention_heads for size in SIZES.values()}
    if width not in heads:
        raise BadCheckpoint(
            f"no published InternViT is {width} wide, so the file alone does not tell the heads: pass config="
        )
    return ViTConfig(
        hidden_size=width,
        num_hidden_layers=1 + max(int(match[1]) for name in shapes if (match := LAYER.match(name))),
        num_attention_heads=heads[width],
        intermediate_size=hidden,
        image_size=math.isqrt(tokens - 1) * patch,
        patch_size=patch,
        norm_type="layer_norm" if "encoder.layers.0.norm1.bias" in shapes else "rms_norm",
        qk_normalization="encoder.layers.0.attn.q_norm.weight" in shapes,
        qkv_bias="encoder.layers.0.attn.qkv.bias" in shapes,
        # The values every published InternViT has; the last three matter in training only.
        layer_norm_eps=1e-6,
        drop_path_rate=0.0,
        initializer_range=0.02,
        initializer_factor=0.1,
    )
