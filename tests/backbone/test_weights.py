"""Checkpoint files as lazy mappings: every layout reads the same, nothing but tensors is ever loaded."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from polylens.backbone import BadCheckpoint
from polylens.backbone.weights import Weights, open_weights
from safetensors.torch import save_file
from torch import Tensor

torch.manual_seed(0)
TENSORS = {
    "a.weight": torch.randn(3, 4),
    "a.bias": torch.randn(3),
    "b.weight": torch.randn(2, 3).bfloat16(),
    "scale": torch.tensor(2.5),
}
SHARDS = {"part-1": ("a.weight", "scale"), "part-2": ("a.bias", "b.weight")}


def save(tensors: dict[str, Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)


def save_sharded(folder: Path, name: str, suffix: str) -> Path:
    """The index of TENSORS in two shards."""
    weight_map = {}
    for shard, names in SHARDS.items():
        save({name: TENSORS[name] for name in names}, folder / f"{shard}{suffix}")
        weight_map |= dict.fromkeys(names, f"{shard}{suffix}")
    index = folder / f"{name}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def check(weights: Weights) -> None:
    assert set(weights) == set(TENSORS) and len(weights) == len(TENSORS)
    assert "a.bias" in weights and "c" not in weights
    for name, tensor in TENSORS.items():
        assert weights.shape(name) == tuple(tensor.shape)
        assert weights[name].dtype == tensor.dtype and torch.equal(weights[name], tensor)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_one_file(tmp_path: Path, name: str) -> None:
    save(TENSORS, tmp_path / name)
    check(open_weights(tmp_path))
    check(open_weights(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "suffix"), [("model.safetensors", ".safetensors"), ("pytorch_model.bin", ".bin")]
)
def test_shards(tmp_path: Path, name: str, suffix: str) -> None:
    check(open_weights(save_sharded(tmp_path, name, suffix)))
    check(open_weights(tmp_path))


@pytest.mark.parametrize("wrapper", [None, "module", "model", "state_dict"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pth(tmp_path: Path, wrapper: str | None, zipped: bool) -> None:
    state = OrderedDict(TENSORS)
    data = {wrapper: state, "epoch": 3} if wrapper else state
    # Files of torch before 1.6 are no zip archives.
    torch.save(data, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    check(open_weights(tmp_path / "a.pth"))


def test_safetensors_win_over_bin(tmp_path: Path) -> None:
    save(TENSORS, tmp_path / "model.safetensors")
    save({"other": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    check(open_weights(tmp_path))


class Malicious:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["a.pth", "pytorch_model.bin"])
def test_no_code_from_a_file_runs(tmp_path: Path, name: str) -> None:
    torch.save({**TENSORS, "evil": Malicious(tmp_path / "harmed")}, tmp_path / name)
    with pytest.raises(BadCheckpoint, match="without running code"):
        open_weights(tmp_path / name)
    assert not (tmp_path / "harmed").exists()
    # Control: an unsafe load of the same file does run it.
    torch.load(tmp_path / name, weights_only=False)
    assert (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "outside",
    ["../secret.safetensors", "/etc/passwd", "sub/part.safetensors", "..\\part.safetensors", "..", ""],
)
def test_an_index_names_only_its_neighbours(tmp_path: Path, outside: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save(TENSORS, tmp_path / "secret.safetensors")
    index = save_sharded(folder, "model.safetensors", ".safetensors")
    check(open_weights(folder))
    data = json.loads(index.read_text())
    data["weight_map"]["a.bias"] = outside
    index.write_text(json.dumps(data))
    with pytest.raises(BadCheckpoint, match="outside its folder"):
        open_weights(folder)


def test_shards_may_be_links_as_in_the_hubs_cache(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    save_sharded(blobs, "model.safetensors", ".safetensors")
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(file)
    check(open_weights(snapshot))


def test_broken_indexes(tmp_path: Path) -> None:
    index = save_sharded(tmp_path, "model.safetensors", ".safetensors")
    check(open_weights(tmp_path))
    good = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": {**good["weight_map"], "ghost": "part-1.safetensors"}}))
    with pytest.raises(BadCheckpoint, match="do not hold: ghost"):
        open_weights(tmp_path)
    index.write_text(json.dumps({"weight_map": {**good["weight_map"], "a.bias": "part-3.safetensors"}}))
    with pytest.raises(BadCheckpoint, match=r"absent: part-3\.safetensors"):
        open_weights(tmp_path)
    for text in ("{", "[]", "{}", '{"weight_map": {"a": 1}}'):
        index.write_text(text)
        with pytest.raises(BadCheckpoint, match=r"index\.json"):
            open_weights(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_files(tmp_path: Path, name: str, keep: int) -> None:
    save(TENSORS, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:keep])
    with pytest.raises(BadCheckpoint, match=name):
        dict(open_weights(tmp_path))
    (tmp_path / name).write_bytes(data)
    check(open_weights(tmp_path))


@pytest.mark.parametrize(
    "data", [[1], {}, {"a": 1, "b": torch.zeros(1)}, {"module": {"epoch": 3}}, torch.zeros(2)]
)
def test_files_without_a_state_dict(tmp_path: Path, data: Any) -> None:
    torch.save(data, tmp_path / "a.pth")
    with pytest.raises(BadCheckpoint, match=r"no state dict|no tensors"):
        open_weights(tmp_path / "a.pth")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"expected one of model\.safetensors"):
        open_weights(tmp_path)
    with pytest.raises(BadCheckpoint, match="does not exist"):
        open_weights(tmp_path / "a.pth")
