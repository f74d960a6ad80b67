"""Devices and dtypes: automatic choice, clear refusals, placement of modules."""

import pytest
import torch
from polylens.backbone.device import pick_device, pick_dtype, place
from polylens.errors import InvalidInput


@pytest.mark.parametrize(("cuda", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_device(monkeypatch: pytest.MonkeyPatch, cuda: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert pick_device("auto").type == expected


def test_named_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InvalidInput, match="cuda:2 .* 2 of them"):
        pick_device("cuda:2")
    with pytest.raises(InvalidInput, match="'gpu'"):
        pick_device("gpu")


@pytest.mark.parametrize(
    ("device", "supported", "expected"),
    [("cpu", True, torch.float32), ("cuda", True, torch.bfloat16), ("cuda", False, torch.float32)],
)
def test_auto_dtype(
    monkeypatch: pytest.MonkeyPatch, device: str, supported: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert pick_dtype("auto", device) == expected


def test_named_dtypes() -> None:
    assert pick_dtype("bfloat16") == pick_dtype(torch.bfloat16) == torch.bfloat16
    for wrong in ("int64", "bf17", torch.int8):
        with pytest.raises(InvalidInput, match="floating dtype"):
            pick_dtype(wrong)


def test_the_longest_module_prefix_places() -> None:
    # "meta" stands for a second device here.
    placement = {"": "cpu", "encoder.layers.1": "meta", "encoder.layers.1.norm1": "cpu"}
    assert place("embeddings.class_embedding", placement).type == "cpu"
    assert place("encoder.layers.1.attn.qkv.weight", placement).type == "meta"
    assert place("encoder.layers.1.norm1.weight", placement).type == "cpu"
    # Layer 12 is not inside layer 1.
    assert place("encoder.layers.12.attn.qkv.weight", placement).type == "cpu"


def test_a_name_without_a_place() -> None:
    assert place("encoder.ls1", {"encoder": "cpu"}).type == "cpu"
    with pytest.raises(InvalidInput, match=r"says nothing about embeddings\.class_embedding"):
        place("embeddings.class_embedding", {"encoder": "cpu"})
