"""Checkpoint files as lazy mappings from name to tensor. Nothing here ever runs code from a file."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import BadCheckpoint, some

# In the order they are preferred; an index names the shards (Hugging Face layout).
FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# Keys training scripts wrap a state dict in: intern_vit_6b_224px.pth uses 'module'.
WRAPPERS = ("module", "model", "state_dict")


class Reader(Protocol):
    """One open file: its names, and shape and tensor of each."""

    def names(self) -> list[str]: ...
    def shape(self, name: str) -> tuple[int, ...]: ...
    def read(self, name: str) -> Tensor: ...


class SafetensorsReader:
    """A .safetensors file; only the header is read at first."""

    def __init__(self, path: Path) -> None:
        try:
            self.file: Any = safe_open(str(path), framework="pt")
        except (SafetensorError, OSError) as error:
            raise BadCheckpoint(f"{path} is not a readable safetensors file: {error}") from error

    def names(self) -> list[str]:
        return list(self.file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.file.get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self.file.get_tensor(name)
        return tensor


class TorchReader:
    """A .bin, .pt or .pth file: tensors only (`weights_only`), mapped from disk rather than read."""

    def __init__(self, path: Path) -> None:
        try:
            # Files of torch < 1.6 are no zip archives and cannot be mapped.
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except MemoryError:
            raise
        except Exception as error:  # unpickling raises nearly anything on damaged data
            raise BadCheckpoint(
                f"{path} is not a file of tensors torch can load without running code: {error}"
            ) from error
        self.tensors = tensors_of(data, path)

    def names(self) -> list[str]:
        return list(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


class Weights(Mapping[str, Tensor]):
    """Names to tensors on the CPU; each is read from its file when asked for and kept by nobody."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self.readers = dict(readers)

    def __getitem__(self, name: str) -> Tensor:
        return self.readers[name].read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.readers)

    def __len__(self) -> int:
        return len(self.readers)

    def __contains__(self, name: object) -> bool:
        return name in self.readers

    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape, from the file's header."""
        return self.readers[name].shape(name)


def open_weights(path: str | Path) -> Weights:
    """The weights of a hub folder (single or sharded) or of one .safetensors, .bin, .pt or .pth file."""
    path = Path(path)
    if path.is_dir():
        for name in FOLDER_FILES:
            if (path / name).is_file():
                return open_weights(path / name)
        raise BadCheckpoint(f"no weights in {path}; expected one of {', '.join(FOLDER_FILES)}")
    if not path.is_file():
        raise BadCheckpoint(f"{path} does not exist")
    if path.name.endswith(".index.json"):
        return open_shards(path)
    reader = open_file(path)
    return Weights(dict.fromkeys(reader.names(), reader))


def open_file(path: Path) -> Reader:
    """One file's reader, chosen by its ending."""
    return SafetensorsReader(path) if path.suffix == ".safetensors" else TorchReader(path)


def open_shards(index: Path) -> Weights:
    """The weights an index names, from the shards beside it."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise BadCheckpoint(f"{index} holds no 'weight_map' from names to files")
    files = sorted(set(weight_map.values()))
    # An index is data from elsewhere: it may name its neighbours, nothing else on the disk.
    outside = [file for file in files if Path(file).name != file or "\\" in file or file in ("", "..")]
    if outside:
        raise BadCheckpoint(f"{index} names files outside its folder: {some(outside)}")
    absent = [file for file in files if not (index.parent / file).is_file()]
    if absent:
        raise BadCheckpoint(f"shards of {index} are absent: {some(absent)}")
    readers = {file: open_file(index.parent / file) for file in files}
    held = {file: set(reader.names()) for file, reader in readers.items()}
    lost = [name for name, file in weight_map.items() if name not in held[file]]
    if lost:
        raise BadCheckpoint(f"{index} names tensors its shards do not hold: {some(lost)}")
    return Weights({name: readers[file] for name, file in weight_map.items()})


def tensors_of(data: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what torch.load gave, taken out of its wrapper."""
    for key in WRAPPERS:
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
    if not isinstance(data, Mapping) or not data:
        raise BadCheckpoint(f"{path} holds no state dict")
    strange = [str(name) for name, value in data.items() if not isinstance(value, Tensor)]
    if strange:
        raise BadCheckpoint(f"{path} holds entries that are no tensors: {some(strange)}")
    return {str(name): tensor for name, tensor in data.items()}


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{path} is not readable JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadCheckpoint(f"{path} holds no JSON object")
    return data
