"""How FSDP cuts InternViT: one unit for each layer."""

from mmengine.registry import FUNCTIONS
from torch import nn

from ..backbone.layers import Layer


@FUNCTIONS.register_module(name="polylens_layers")  # type: ignore[untyped-decorator]  # no types
def each_layer(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """Whether to look inside (`recurse`), or whether the module, a layer of InternViT, is a unit."""
    return recurse or isinstance(module, Layer)
