"""InternViT from every published form of a checkpoint, and back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from polylens.backbone import BadCheckpoint, InternViT, ViTConfig
from polylens.backbone.checkpoint import read_config
from polylens.backbone.renames import PTH_TO_HUB, back, there
from polylens.backbone.shapes import config_from_shapes
from polylens.backbone.sizes import INTERNVIT_6B_224PX, INTERNVIT_300M_448PX, SIZES
from polylens.errors import InvalidInput
from safetensors.torch import load_file, save_file
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden"
HUB = GOLDEN / "vit_6b_tiny" / "checkpoint"
CONFIG = ViTConfig.from_dict(read_config(HUB))
STATE: dict[str, Tensor] = load_file(HUB / "model.safetensors")


def same(vit: InternViT, state: dict[str, Tensor]) -> bool:
    return vit.state_dict().keys() == state.keys() and all(
        torch.equal(vit.state_dict()[name], tensor) for name, tensor in state.items()
    )


def load(source: Path, **options: Any) -> InternViT:
    return InternViT.from_pretrained(source, device="cpu", **options)


def test_hub_folder() -> None:
    vit = load(HUB)
    assert same(vit, STATE) and vit.config == CONFIG
    assert not vit.training and not any(parameter.is_meta for parameter in vit.parameters())


@pytest.mark.parametrize("wrapped", [True, False])
def test_intern_vit_pth(tmp_path: Path, wrapped: bool) -> None:
    data = torch.load(GOLDEN / "pth" / "intern_vit_tiny.pth", weights_only=True)
    path = tmp_path / "intern_vit.pth"
    torch.save(data if wrapped else data["module"], path)
    assert same(load(path, config=CONFIG), STATE)


@torch.no_grad()
@pytest.mark.parametrize("wrapped", [True, False])
def test_internvl_c_pth(tmp_path: Path, wrapped: bool) -> None:
    data = torch.load(GOLDEN / "pth" / "internvl_c_tiny.pth", weights_only=True)
    path = tmp_path / "internvl_c.pth"
    torch.save({"module": data} if wrapped else data, path)
    config = ViTConfig.from_dict({**CONFIG.to_dict(), "num_hidden_layers": 3})
    with (
        np.load(GOLDEN / "pth" / "inputs.npz", allow_pickle=False) as inputs,
        np.load(GOLDEN / "pth" / "internvl_c_expected.npz", allow_pickle=False) as expected,
    ):
        tokens = load(path, config=config)(torch.from_numpy(inputs["pixel_values"]))
        np.testing.assert_allclose(tokens.numpy(), expected["forward_features"], atol=2e-5, rtol=1e-4)


def full_internvl(folder: Path, extra: dict[str, Tensor], **config: Any) -> Path:
    """A folder like InternVL-14B-224px, its vision part that of vit_6b_tiny."""
    tensors = {f"vision_model.{name}": tensor for name, tensor in STATE.items()}
    save_file(tensors | {"qllama.model.norm.weight": torch.ones(4)} | extra, folder / "model.safetensors")
    vision = read_config(HUB)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "internvl", "qllama_config": {}, "vision_config": vision, **config})
    )
    return folder


def test_full_internvl_folder(tmp_path: Path) -> None:
    assert same(load(full_internvl(tmp_path, {})), STATE)


def test_full_internvl_folder_with_forced_size(tmp_path: Path) -> None:
    # Such a checkpoint holds positions of the forced size while vision_config keeps the old one.
    name = "vision_model.embeddings.position_embedding"
    vit = load(full_internvl(tmp_path, {name: torch.ones(1, 37, 64)}, force_image_size=84))
    assert vit.config.image_size == 84 and vit.embeddings.position_embedding.shape == (1, 37, 64)


def test_faults_in_the_vision_part_are_found(tmp_path: Path) -> None:
    extra = {"vision_model.head.weight": torch.ones(1), "vision_model.encoder.layers.0.ls1": torch.ones(2)}
    with pytest.raises(BadCheckpoint) as caught:
        load(full_internvl(tmp_path, extra))
    assert "unexpected (1): vision_model.head.weight" in str(caught.value)
    assert "wrong shape (1): vision_model.encoder.layers.0.ls1 is (2,), expected (64,)" in str(caught.value)


@pytest.mark.parametrize("name", ["head.weight", "blocks.0.attn.extra"])
def test_pth_is_strict_beyond_its_ignore_rule(tmp_path: Path, name: str) -> None:
    data = torch.load(GOLDEN / "pth" / "intern_vit_tiny.pth", weights_only=True)
    data["module"][name] = torch.zeros(1)
    torch.save(data, tmp_path / "a.pth")
    with pytest.raises(BadCheckpoint, match=name):
        load(tmp_path / "a.pth", config=CONFIG)


@pytest.mark.parametrize(
    ("file", "names"), [("key_names_intern_vit.json", None), ("key_names.json", "internvl_c")]
)
def test_renames_there_and_back(file: str, names: str | None) -> None:
    listed = json.loads((GOLDEN / "pth" / file).read_text())
    stored = [
        name
        for name in (listed[names] if names else listed)
        if name.startswith(("blocks", "patch", "pos", "cls"))
    ]
    hub = [there(name, PTH_TO_HUB) for name in stored]
    assert len(stored) > 30 and len(set(hub)) == len(hub)
    assert set(hub) <= set(STATE)
    assert [back(name, PTH_TO_HUB) for name in hub] == stored
    assert there("clip_projector.norm1_q.bias", PTH_TO_HUB) == "clip_projector.norm1_q.bias"


@pytest.mark.parametrize("name", ["InternViT-6B-448px-V1-5", "InternViT-300M-448px"])
def test_renames_of_published_sizes(name: str) -> None:
    with torch.device("meta"):
        hub = list(InternViT(SIZES[f"OpenGVLab/{name}"]).state_dict())
    stored = [back(name, PTH_TO_HUB) for name in hub]
    assert not set(stored) & set(hub)
    assert [there(name, PTH_TO_HUB) for name in stored] == hub


def test_both_ways_to_disk_are_bit_equal(tmp_path: Path) -> None:
    vit = load(HUB)
    vit.save_pretrained(tmp_path / "hub")
    assert same(load(tmp_path / "hub"), STATE)
    assert ViTConfig.from_dict(read_config(tmp_path / "hub")) == CONFIG
    vit.save_pth(tmp_path / "vit.pth")
    assert same(load(tmp_path / "vit.pth", config=CONFIG), STATE)
    written = torch.load(tmp_path / "vit.pth", weights_only=True)["module"]
    original = torch.load(GOLDEN / "pth" / "intern_vit_tiny.pth", weights_only=True)["module"]
    backbone = {name: tensor for name, tensor in original.items() if not name.startswith("clip_projector")}
    assert written.keys() == backbone.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in backbone.items())


def test_resized_weights_are_saved_resized(tmp_path: Path) -> None:
    load(HUB, image_size=84).save_pretrained(tmp_path)
    vit = load(tmp_path)
    assert vit.config.image_size == 84 and vit.embeddings.position_embedding.shape == (1, 37, 64)


def test_refuses_a_size_before_reading(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="image_size 57"):
        load(HUB, image_size=57)


@pytest.mark.parametrize("config", [INTERNVIT_6B_224PX, INTERNVIT_300M_448PX])
def test_config_from_shapes(config: ViTConfig) -> None:
    with torch.device("meta"):
        state = InternViT(config).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    found = config_from_shapes(shapes)
    training_only = ("drop_path_rate", "initializer_range", "initializer_factor")
    for name, value in config.to_dict().items():
        assert name in training_only or found.to_dict()[name] == value, name


def test_a_file_without_config(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="64 wide"):
        load(GOLDEN / "pth" / "intern_vit_tiny.pth")
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(BadCheckpoint, match="no InternViT"):
        load(tmp_path / "x.safetensors")


@torch.no_grad()
def test_split_over_devices() -> None:
    # No second device here: layers placed on "meta" must pull their input there, whatever it came from.
    vit = load(HUB)
    split = InternViT.from_pretrained(
        HUB, device={"": "cpu", "encoder.layers.2": "meta", "encoder.layers.3": "meta"}
    )
    assert [layer.ls1.device.type for layer in split.encoder.layers] == ["cpu", "cpu", "meta", "meta"]
    for layer in split.encoder.layers[2:]:
        # Without their insides: torch loads much before its first matrix product on meta.
        layer.attn = layer.mlp = layer.norm1 = layer.norm2 = torch.nn.Identity()
    pixels = torch.randn(1, 3, 56, 56)
    states = split.hidden_states(pixels)
    assert [state.device.type for state in states] == ["cpu", "cpu", "cpu", "meta", "meta"]
    assert torch.equal(states[2], vit.hidden_states(pixels)[2])
    assert states[-1].shape == vit(pixels).shape
