"""Ways to make a loaded encoder faster: weights in 8 bits on a CPU, and networks compiled by torch.

Legend: I and O features that come in and go out.
"""

import hashlib
import warnings

import torch
from torch import Tensor, nn

from ..backbone.attention_pool import PoolAttention
from ..errors import InvalidInput
from .encoder import Encoder

KINDS = ("none", "int8")
READ_DIRECTLY = (nn.MultiheadAttention, PoolAttention)  # these read the weights of their layers themselves
# The last layer of a gated MLP reads products. A few tokens give it products so large that one range for all
# leaves the others no bits; it stays in float32.
OUTLIERS = ("down_proj",)
TOWERS = ("encode_image", "encode_text", "get_image_features", "get_text_features")


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, one scale for each output, and inputs rounded as they come.

    Seven bits of the inputs are used, so that processors without VNNI cannot overflow.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        weight_OI = linear.weight.detach().float()
        scale_O = (weight_OI.abs().amax(dim=1) / 127).clamp_min(1e-12)
        with warnings.catch_warnings():  # torch means to replace these tensors by torchao's
            warnings.simplefilter("ignore")
            zeros_O = torch.zeros(len(scale_O), dtype=torch.int64)
            quantized_OI = torch.quantize_per_channel(weight_OI, scale_O, zeros_O, 0, torch.qint8)
        bias = None if linear.bias is None else linear.bias.detach().float()
        self._packed = torch.ops.quantized.linear_prepack(quantized_OI, bias)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (..., O) of float32 (..., I)."""
        y: Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, reduce_range=True)
        return y


def quantized(network: nn.Module) -> int:
    """How many linear layers were replaced by such of 8 bits, in place.

    Those of READ_DIRECTLY and OUTLIERS stay as they are.
    """
    found = [
        (parent, name, child)
        for parent in network.modules()
        if not isinstance(parent, READ_DIRECTLY)
        for name, child in parent.named_children()
        if type(child) is nn.Linear and name not in OUTLIERS
    ]
    for parent, name, child in found:
        setattr(parent, name, Int8Linear(child))
    return len(found)


def made_faster(encoder: Encoder, *, quantize: str = "none", compile: bool = False) -> Encoder:
    """The encoder, its network changed in place. What changes vectors by more than rounding changes the
    fingerprint: `quantize="int8"` does, `compile` does not."""
    network = getattr(encoder.model, "network", None)
    if quantize not in KINDS:
        raise InvalidInput(f"quantize is {quantize!r}, expected one of {', '.join(KINDS)}")
    if quantize == "int8":
        places = {(tensor.device.type, tensor.dtype) for tensor in network.parameters()} if network else set()
        if network is None or places != {("cpu", torch.float32)}:
            raise InvalidInput("int8 is for models in float32 on the CPU: --device cpu --dtype float32")
        before = encoder.fingerprint  # of the weights as they are stored
        quantized(network)
        encoder.fingerprint = hashlib.sha256(
            f"{before} int8 linear layers without {OUTLIERS}".encode()
        ).hexdigest()
    if compile and network is not None:
        for name in TOWERS:
            if (tower := getattr(network, name, None)) is not None:
                setattr(network, name, torch.compile(tower, dynamic=True))
    return encoder
