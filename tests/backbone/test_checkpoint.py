"""Weights into modules: strict, one at a time, in the dtype and on the device asked for; and back to disk."""

import json
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from polylens.backbone import BadCheckpoint, checkpoint
from polylens.backbone.checkpoint import (
    load_into,
    open_weights,
    read_config,
    resolve,
    save_folder,
)
from polylens.errors import InvalidInput
from torch import Tensor, nn


class Net(nn.Module):
    """Two layers and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 2, bias=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


def on_meta() -> Net:
    with torch.device("meta"):
        return Net()


def stored() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {**Net().state_dict(), "steps": torch.tensor(7)}


def test_fills_a_module_on_meta() -> None:
    net, weights = on_meta(), stored()
    net.second.requires_grad_(False)
    load_into(net, weights)
    assert all(torch.equal(net.state_dict()[name], weights[name]) for name in weights)
    assert [p.requires_grad for p in net.parameters()] == [True, True, False]
    assert all(isinstance(p, nn.Parameter) for p in net.parameters())


def test_casts_floats_only() -> None:
    net = on_meta()
    load_into(net, stored(), dtype="bfloat16")
    assert net.first.weight.dtype == torch.bfloat16
    assert net.steps.dtype == torch.int64 and net.steps == 7


def test_shares_no_memory_with_the_source() -> None:
    net, weights = on_meta(), stored()
    load_into(net, weights)
    weights["first.weight"].zero_()
    assert net.first.weight.any()


def test_places_by_module() -> None:
    net = on_meta()
    # "meta" stands for a second device.
    load_into(net, stored(), device={"": "cpu", "second": "meta"})
    assert net.first.weight.device.type == "cpu"
    assert net.second.weight.device.type == "meta"


class OneByOne(Mapping[str, Tensor]):
    """Weights that fail when a tensor is asked for while an earlier one is still held."""

    def __init__(self) -> None:
        self.data = stored()
        self.given: list[weakref.ref[Tensor]] = []

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, name: str) -> Tensor:
        assert not [ref for ref in self.given if ref() is not None], "an earlier tensor is still in memory"
        tensor = self.data[name].clone()
        self.given.append(weakref.ref(tensor))
        return tensor


def test_never_holds_two_copies() -> None:
    weights = OneByOne()
    load_into(on_meta(), weights)
    assert len(weights.given) == 2 * len(weights.data)  # once for the shape, once for the values
    # Control: a plain dict of them all is caught.
    with pytest.raises(AssertionError, match="still in memory"):
        dict(OneByOne())


def test_one_error_lists_everything() -> None:
    weights = stored()
    del weights["first.bias"], weights["second.weight"]
    weights |= {"third.weight": torch.zeros(1), "first.weight": torch.zeros(4, 3)}
    net = on_meta()
    with pytest.raises(BadCheckpoint) as caught:
        load_into(net, weights)
    assert str(caught.value).splitlines() == [
        "the checkpoint does not fit Net:",
        "  missing (2): first.bias, second.weight",
        "  unexpected (1): third.weight",
        "  wrong shape (1): first.weight is (4, 3), expected (3, 4)",
    ]
    assert all(parameter.is_meta for parameter in net.parameters())


def test_long_lists_are_cut() -> None:
    extra = {f"extra.{index}": torch.zeros(1) for index in range(40)}
    with pytest.raises(BadCheckpoint, match=r"unexpected \(40\): extra\.0, .*extra\.11, \.\.\. and 28 more$"):
        load_into(on_meta(), {**stored(), **extra})


def test_two_names_for_one_parameter() -> None:
    with pytest.raises(BadCheckpoint, match=r"doubled \(2\): first\.bias, old\.bias"):
        load_into(
            on_meta(),
            {**stored(), "old.bias": torch.zeros(3)},
            rename=lambda name: name.replace("old", "first"),
        )


def test_renames_and_ignores() -> None:
    weights = {f"net.{name}": tensor for name, tensor in stored().items()}
    weights |= {"head.weight": torch.zeros(1), "head.inner.bias": torch.zeros(1)}
    net = on_meta()
    load_into(net, weights, rename=lambda name: name.removeprefix("net."), ignore=["head.*"])
    assert torch.equal(net.first.weight, weights["net.first.weight"])
    with pytest.raises(BadCheckpoint, match=r"unexpected \(1\): head\.inner\.bias"):
        load_into(net, weights, rename=lambda name: name.removeprefix("net."), ignore=["head.weight"])


def test_save_and_load(tmp_path: Path) -> None:
    # A view of a larger tensor is stored as what it shows.
    state = {**stored(), "first.weight": torch.randn(8, 3)[:4].T}
    save_folder(tmp_path / "new" / "folder", {"size": 3}, state)
    folder = tmp_path / "new" / "folder"
    assert read_config(folder) == {"size": 3}
    weights = open_weights(folder)
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("text", [None, "{", "[1]", "\xff"])
def test_unreadable_config(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(BadCheckpoint, match=r"config\.json"):
        read_config(tmp_path)


def test_resolve_takes_local_paths_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "snapshot_download", lambda *args, **kwargs: pytest.fail("asked the hub"))
    assert resolve(tmp_path) == tmp_path
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("owner/name") == Path("owner/name")
    for wrong in ("no-such-folder", "/no/such/folder", "a/b/c", ""):
        with pytest.raises(InvalidInput, match="neither an existing folder"):
            resolve(wrong) if wrong else resolve("?")


@pytest.mark.parametrize(("files", "downloads"), [(["model.safetensors"], 1), (["config.json"], 2)])
def test_resolve_downloads_bin_only_when_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], downloads: int
) -> None:
    patterns: list[list[str]] = []

    def download(name: str, *, allow_patterns: list[str]) -> str:
        assert name == "OpenGVLab/InternViT-6B-224px"
        patterns.append(allow_patterns)
        for file in files:
            (tmp_path / file).touch()
        return str(tmp_path)

    monkeypatch.setattr(checkpoint, "snapshot_download", download)
    assert resolve("OpenGVLab/InternViT-6B-224px") == tmp_path
    assert len(patterns) == downloads
    assert ["*.bin" in allowed for allowed in patterns] == [False, True][:downloads]
    assert not any("*.py" in allowed for allowed in patterns)


def test_resolve_says_when_the_hub_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*args: Any, **kwargs: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(checkpoint, "snapshot_download", download)
    with pytest.raises(InvalidInput, match="owner/name here, and the hub gave none: no network"):
        resolve("owner/name")


def test_config_on_disk_is_sorted_json(tmp_path: Path) -> None:
    save_folder(tmp_path, {"b": 1, "a": 2}, {"x": torch.zeros(1)})
    assert list(json.loads((tmp_path / "config.json").read_text())) == ["a", "b"]
