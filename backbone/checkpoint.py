"""Checkpoints into modules and back: strictly, tensor by tensor, never two copies of a model in memory."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InvalidInput
from ..whole import write_whole
from .device import Placement, pick_dtype, place
from .errors import BadCheckpoint, some
from .weights import Weights, open_weights, read_json

__all__ = ["load_into", "open_weights", "read_config", "resolve", "save_folder"]

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def resolve(source: str | Path, *, also: tuple[str, ...] = ()) -> Path:
    """The local folder or file `source` names; a hub id (owner/name) is downloaded once.

    `also` are patterns of further files that are needed of a hub id.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    if not HUB_ID.fullmatch(str(source)):
        raise InvalidInput(f"{str(source)!r} is neither an existing folder or file nor a hub id (owner/name)")
    try:
        wanted = ["*.json", "*.model", *also]
        folder = Path(snapshot_download(str(source), allow_patterns=[*wanted, "*.safetensors"]))
        if not any(folder.glob("*.safetensors")):
            # Many repositories hold the same weights twice: take .bin only where nothing better exists.
            folder = Path(snapshot_download(str(source), allow_patterns=[*wanted, "*.bin"]))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InvalidInput(f"no folder {source} here, and the hub gave none: {error}") from error
    return folder


def read_config(folder: str | Path) -> dict[str, Any]:
    """The config.json of a hub folder."""
    return read_json(Path(folder) / "config.json")


def load_into(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str] | None = None,
    ignore: Sequence[str] = (),
    dtype: str | torch.dtype | None = None,
    device: Placement = "cpu",
) -> None:
    """Nothing; the module then holds the weights, each copied alone into the target dtype and device.

    Build the module under `shapes_only()`, so that no memory is spent before. Stored names matching a
    pattern of `ignore` (as in a shell: "clip_projector.*") are skipped, the others go through `rename`. Names
    and shapes must fit exactly, else `BadCheckpoint` lists all that do not and the module is left as it was.
    `dtype` None keeps what is stored. Tied parameters get separate tensors: tie them afterwards.
    """
    rename = rename or str
    stored = {
        name: rename(name) for name in weights if not any(fnmatchcase(name, pattern) for pattern in ignore)
    }
    wanted = module.state_dict(keep_vars=True)
    check_fit(type(module).__name__, weights, stored, wanted)
    for name, target in stored.items():
        where = place(target, device)
        kind = None if dtype is None else pick_dtype(dtype, where)
        assign(module, target, owned(weights[name], kind, where))


def check_fit(
    title: str, weights: Mapping[str, Tensor], stored: Mapping[str, str], wanted: Mapping[str, Tensor]
) -> None:
    """Nothing, or one `BadCheckpoint` with every missing, unexpected, doubled and misshapen name."""
    targets = Counter(stored.values())
    missing = [name for name in wanted if name not in targets]
    unexpected = [name for name, target in stored.items() if target not in wanted]
    doubled = [name for name, target in stored.items() if targets[target] > 1 and target in wanted]
    misshapen = []
    for name, target in stored.items():
        if target in wanted:
            got = weights.shape(name) if isinstance(weights, Weights) else tuple(weights[name].shape)
            if got != tuple(wanted[target].shape):
                misshapen.append(f"{name} is {got}, expected {tuple(wanted[target].shape)}")
    faults = {"missing": missing, "unexpected": unexpected, "doubled": doubled, "wrong shape": misshapen}
    lines = [f"  {kind} ({len(names)}): {some(names)}" for kind, names in faults.items() if names]
    if lines:
        raise BadCheckpoint("\n".join([f"the checkpoint does not fit {title}:", *lines]))


def owned(tensor: Tensor, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """A contiguous copy that shares no memory with the file; integers keep their dtype."""
    kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=device, dtype=kind, copy=True, memory_format=torch.contiguous_format)


def assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Nothing; the parameter or buffer `name` of the module is replaced by the tensor."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    old = getattr(owner, leaf)
    if isinstance(old, nn.Parameter):
        setattr(owner, leaf, nn.Parameter(tensor, requires_grad=old.requires_grad))
    else:
        setattr(owner, leaf, tensor)


def save_folder(folder: str | Path, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Nothing; the folder then holds config.json and model.safetensors, each written whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    write_whole(
        folder / "model.safetensors", lambda path: save_file(tensors, str(path), metadata={"format": "pt"})
    )
    text = json.dumps(dict(config), indent=2, sort_keys=True) + "\n"
    write_whole(folder / "config.json", lambda path: path.write_text(text, encoding="utf-8"))
