"""Low-rank adapters (Hu et al. 2021, LoRA, section 4.1) merged into the weights they adapt, while loading.

Shapes: O outputs, I inputs, R rank.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..backbone.errors import BadCheckpoint, some
from ..backbone.weights import Weights
from .made import Made, gather, taken

# alpha / rank: InternVL trains all its adapters with alpha = 2 * rank.
SCALING = 2.0
WRAPPER = re.compile(r"^(vision_model|qllama)\.base_model\.model\.")
ADAPTER = re.compile(r"(.+)\.lora_([AB])\.default\.weight")


def plain_name(name: str) -> str:
    """The name without peft's wrappers: `base_model.model` on towers, `base_layer` on layers (0.7 on)."""
    return WRAPPER.sub(r"\1.", name).replace(".base_layer.", ".")


def merge_matrix(weight_OI: Tensor, down_RI: Tensor, up_OR: Tensor) -> Tensor:
    """weight + SCALING * up @ down, (O, I) float32."""
    return torch.addmm(weight_OI.float(), up_OR.float(), down_RI.float(), alpha=SCALING)


def merge_lora(weights: Weights, ranks: Mapping[str, int]) -> Weights:
    """The weights under plain names; a matrix with an adapter is merged, in float32, when it is asked for.

    `ranks` is what the config states for each tower (0: no adapters); the file must agree.
    """
    plain: list[Made] = []
    adapters: dict[str, dict[str, Made]] = {}
    for stored in weights:
        one = taken(weights, stored, plain_name(stored))
        if match := ADAPTER.fullmatch(one.name):
            adapters.setdefault(f"{match[1]}.weight", {})[match[2]] = one
        else:
            plain.append(one)
    check_towers({tower(name) for name in adapters}, ranks)
    whole = {one.name for one in plain if len(adapters.get(one.name, {})) == 2}
    if broken := sorted(adapters.keys() - whole):
        raise BadCheckpoint(f"adapters without lora_A, lora_B or the matrix they adapt: {some(broken)}")
    return gather(
        merged(one, **adapters[one.name], rank=ranks[tower(one.name)]) if one.name in adapters else one
        for one in plain
    )


def tower(name: str) -> str:
    """The first part of a parameter's name."""
    return name.partition(".")[0]


def merged(base: Made, *, A: Made, B: Made, rank: int) -> Made:
    """The base's matrix with its adapter's halves A (down) and B (up), which must be of the rank given."""
    wanted = (rank, *base.size[1:]), (*base.size[:1], rank)
    if (A.size, B.size) != wanted:
        raise BadCheckpoint(
            f"the adapter of {base.name} has shapes {A.size} and {B.size}, "
            f"rank {rank} in its config needs {wanted[0]} and {wanted[1]}"
        )
    return Made(base.name, base.size, lambda: merge_matrix(base.make(), A.make(), B.make()))


def check_towers(found: set[str], ranks: Mapping[str, int]) -> None:
    """Nothing, or `BadCheckpoint` when other towers have adapters than the config states."""
    stated = {tower for tower, rank in ranks.items() if rank}
    if found != stated:
        raise BadCheckpoint(
            f"the checkpoint holds adapters for: {', '.join(sorted(found)) or 'nothing'}; "
            f"its config states them for: {', '.join(sorted(stated)) or 'nothing'}"
        )
