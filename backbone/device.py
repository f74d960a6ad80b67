"""Where a model goes and in which precision."""

from collections.abc import Mapping

import torch

from ..errors import InvalidInput

# One device for all, or devices by the beginning of a module's name: {"": "cuda:0", "encoder": "cuda:1"}
Placement = str | torch.device | Mapping[str, str | torch.device]


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """The device asked for; "auto" is the first CUDA device when there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InvalidInput(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InvalidInput(
            f"device {device!s} was asked for, but torch sees {torch.cuda.device_count()} of them"
        )
    return chosen


def pick_dtype(dtype: str | torch.dtype = "auto", device: str | torch.device = "cpu") -> torch.dtype:
    """The floating dtype asked for; "auto" is bfloat16 on a GPU that computes in it, else float32."""
    if dtype == "auto":
        on_gpu = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(
            including_emulation=False
        )
        return torch.bfloat16 if on_gpu else torch.float32
    chosen = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
        raise InvalidInput(f"dtype must be 'auto' or a floating dtype such as 'bfloat16', got {dtype!r}")
    return chosen


def place(name: str, placement: Placement) -> torch.device:
    """The device of the parameter `name`: the longest module prefix in the mapping wins, "" matches all.

    Split between layers (`encoder.layers.N`), never inside one: activations move where a layer begins.
    """
    if not isinstance(placement, Mapping):
        return pick_device(placement)
    fitting = [prefix for prefix in placement if prefix == "" or f"{name}.".startswith(f"{prefix}.")]
    if not fitting:
        raise InvalidInput(f"the device mapping says nothing about {name}; add an entry '' for the rest")
    return pick_device(placement[max(fitting, key=len)])
