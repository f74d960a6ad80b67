"""Names of InternVL's parameters in our modules, on the hub and in internvl_c_13b_224px.pth, there and back.

The tables are written and read as in backbone/renames.py.
"""

import re

from ..backbone.renames import PTH_TO_HUB as VISION_PTH_TO_HUB
from ..backbone.renames import VISION_PREFIX, Table, back, there

__all__ = ["C_TO_HUB", "G_ONLY", "G_TO_HUB", "PTH_TO_HUB", "ROTARY_BUFFER", "back", "there"]

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

# internvl_c_13b_224px.pth -> the hub's InternVL; pooling, projection and temperature have one name.
PTH_TO_HUB: Table = (
    *((left, VISION_PREFIX + right) for left, right in VISION_PTH_TO_HUB),
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

# Buffers that transformers before 4.32 saved with a LLaMA; they follow from the sizes.
ROTARY_BUFFER = re.compile(r"qllama\.model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
