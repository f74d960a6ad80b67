"""Parameter names of InternViT in other files, each way there and back.

A table is a list of pairs of patterns; the first that fits counts, and `*` is the same text on both sides.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial

from .weights import Weights

Table = Sequence[tuple[str, str]]

# intern_vit_6b_224px.pth and internvl_c_13b_224px.pth (hub id OpenGVLab/InternVL) -> the hub's InternViT.
PTH_TO_HUB: Table = (
    ("cls_token", "embeddings.class_embedding"),
    ("pos_embed", "embeddings.position_embedding"),
    ("patch_embed.proj.*", "embeddings.patch_embedding.*"),
    # Layer scales are modules there and parameters on the hub.
    ("blocks.*.ls1.gamma", "encoder.layers.*.ls1"),
    ("blocks.*.ls2.gamma", "encoder.layers.*.ls2"),
    ("blocks.*", "encoder.layers.*"),
)
# What those two files hold beside the backbone: pooling, text tower, text projection, temperature.
PTH_IGNORE = ("clip_projector.*", "transformer.*", "text_projection", "logit_scale")

# A full InternVL on the hub -> the hub's InternViT.
VISION_PREFIX = "vision_model."


def there(name: str, table: Table) -> str:
    """The name on the table's right side; one that fits nowhere comes back as it is."""
    for left, right in table:
        match = re.fullmatch(re.escape(left).replace(r"\*", "(.+)"), name)
        if match:
            return right.replace("*", match[1]) if match.groups() else right
    return name


def back(name: str, table: Table) -> str:
    """The name on the table's left side; one that fits nowhere comes back as it is."""
    return there(name, [(left, right) for right, left in table])


def vision_part(weights: Weights) -> tuple[Weights, Callable[[str], str], Sequence[str]]:
    """The backbone's share of a checkpoint, the renaming to the hub's names, and patterns of names to ignore.

    Three kinds of checkpoint are told apart by their names: InternViT on the hub, a full InternVL on the hub,
    and the two older .pth files. Whatever is left over afterwards is unexpected.
    """
    if any(name.startswith(VISION_PREFIX) for name in weights):
        inside = {name: reader for name, reader in weights.readers.items() if name.startswith(VISION_PREFIX)}
        return Weights(inside), lambda name: name.removeprefix(VISION_PREFIX), ()
    if "patch_embed.proj.weight" in weights:
        return weights, partial(there, table=PTH_TO_HUB), PTH_IGNORE
    return weights, str, ()
