"""Names of parameters in our modules, on the hub, and in `internvl_c_13b_224px.pth`, there and back.

A table is a list of pairs of patterns; the first that fits counts. `*` is the same text on both sides.
"""

import re
from collections.abc import Sequence

Table = Sequence[tuple[str, str]]

# Modules of InternVLC -> the hub.
C_TO_HUB: Table = (("qllama.*", "qllama.model.*"), ("*", "*"))

# Modules of InternVLG -> the hub.
G_TO_HUB: Table = (
    ("query_tokens", "query_tokens"),
    ("clip_projector2.*", "clip_projector2.*"),
    ("itm_head.*", "itm_head.*"),
    ("lm_head.weight", "qllama.lm_head.weight"),
    ("c.qllama.*", "qllama.model.*"),
    ("c.*", "*"),
)

# internvl_c_13b_224px.pth -> the hub; layer scales are modules there and parameters on the hub.
PTH_TO_HUB: Table = (
    ("cls_token", "vision_model.embeddings.class_embedding"),
    ("pos_embed", "vision_model.embeddings.position_embedding"),
    ("patch_embed.proj.*", "vision_model.embeddings.patch_embedding.*"),
    ("blocks.*.ls1.gamma", "vision_model.encoder.layers.*.ls1"),
    ("blocks.*.ls2.gamma", "vision_model.encoder.layers.*.ls2"),
    ("blocks.*", "vision_model.encoder.layers.*"),
    ("transformer.*", "qllama.model.*"),
    ("*", "*"),
)

# What only InternVL-G has: InternVL-C passes over these names, and no others, in a full checkpoint.
G_ONLY = re.compile(
    r"query_tokens|qllama\.lm_head\.weight|itm_head\.(weight|bias)"
    r"|clip_projector2\.norm1_[qkv]\.(weight|bias)"
    r"|clip_projector2\.cross_attn\.([qkv]\.weight|[qkv]_bias|proj\.(weight|bias))"
    r"|qllama\.model\.layers\.\d+\.cross_attn\.(norm[12]|[qkvo]_proj)\.weight"
)

# Buffers that old versions of transformers saved; they follow from the sizes.
ROTARY_BUFFER = re.compile(r"(transformer|qllama\.model)\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


def there(name: str, table: Table) -> str:
    """The name on the table's right side; a name that fits nowhere comes back as it is."""
    return _translate(name, table)


def back(name: str, table: Table) -> str:
    """The name on the table's left side; a name that fits nowhere comes back as it is."""
    return _translate(name, [(left, right) for right, left in table])


def _translate(name: str, table: Table) -> str:
    for left, right in table:
        if match := re.fullmatch(re.escape(left).replace(r"\*", "(.+)"), name):
            return right.replace("*", match[1]) if "*" in right else right
    return name
