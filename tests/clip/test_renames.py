"""The names in internvl_c_13b_224px.pth and on the hub: there and back, and loading either."""

import json

import pytest
import torch
from polylens.backbone.errors import BadCheckpoint
from polylens.backbone.weights import open_weights
from polylens.clip.config import InternVLConfig
from polylens.clip.internvl_c import InternVLC, similarity
from polylens.clip.internvl_g import InternVLG
from polylens.clip.pretrained import from_pth
from polylens.clip.renames import C_TO_HUB, G_ONLY, G_TO_HUB, PTH_TO_HUB, ROTARY_BUFFER, back, there
from polylens.clip.sizes import config_of_shapes
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def config(golden):
    values = json.loads((golden / "internvl_tiny/checkpoint/config.json").read_text())
    return InternVLConfig.from_dict(values)


@pytest.fixture(scope="module")
def pth(golden):
    return golden / "pth/internvl_c_tiny.pth"


@pytest.fixture(scope="module")
def hub(golden):
    return load_file(golden / "internvl_tiny/checkpoint/model.safetensors")


def test_pth_and_hub_hold_the_same_weights_there_and_back(pth, hub):
    stored = torch.load(pth, weights_only=True)
    buffers = {name for name in stored if ROTARY_BUFFER.fullmatch(there(name, PTH_TO_HUB))}
    assert len(buffers) == 4
    renamed = {there(name, PTH_TO_HUB): stored[name] for name in stored.keys() - buffers}
    assert renamed.keys() == {name for name in hub if not G_ONLY.fullmatch(name)}
    assert all(torch.equal(tensor, hub[name]) for name, tensor in renamed.items())
    returned = {back(name, PTH_TO_HUB): tensor for name, tensor in renamed.items()}
    assert returned.keys() == stored.keys() - buffers
    assert all(torch.equal(tensor, stored[name]) for name, tensor in returned.items())


@pytest.mark.parametrize(("kind", "table"), [(InternVLC, C_TO_HUB), (InternVLG, G_TO_HUB)])
def test_our_names_and_the_hubs_there_and_back(kind, table, config, hub):
    with torch.device("meta"):
        ours = set(kind(config).state_dict())
    theirs = {there(name, table) for name in ours}
    assert theirs == {name for name in hub if kind is InternVLG or not G_ONLY.fullmatch(name)}
    assert {back(name, table) for name in theirs} == ours


@pytest.mark.parametrize("wrapped", [False, True])
@torch.no_grad()
def test_a_pth_file_gives_the_originals_numbers(pth, config, wrapped, tmp_path, arrays, close, close_logits):
    if wrapped:
        torch.save({"module": torch.load(pth, weights_only=True)}, tmp_path / "wrapped.pth")
        pth = tmp_path / "wrapped.pth"
    inputs, expected = arrays("internvl_tiny/inputs.npz"), arrays("pth/internvl_c_expected.npz")
    model = InternVLC.from_pretrained(pth, config=config)
    images, texts = model(inputs["pixel_values"], inputs["input_ids"])
    assert close(model.vision_model(inputs["pixel_values"]), expected["forward_features"])
    assert close(images, expected["encode_image"])
    assert close(texts, expected["encode_text"])
    assert close_logits(similarity(images, texts, model.logit_scale), expected["logits_per_image"])


def test_a_name_nobody_knows_is_refused(pth, config, tmp_path):
    stored = torch.load(pth, weights_only=True)
    stored["transformer.layers.0.self_attn.rotary_emb.cos"] = torch.zeros(6)
    torch.save(stored, tmp_path / "odd.pth")
    InternVLC.from_pretrained(pth, config=config)
    with pytest.raises(BadCheckpoint, match=r"unexpected.*rotary_emb\.cos"):
        InternVLC.from_pretrained(tmp_path / "odd.pth", config=config)


def stub(width: int, text_width: int) -> dict[str, torch.Tensor]:
    """The names and shapes that tell the sizes, two vision layers and three text layers."""
    shapes = {
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "pos_embed": (1, 26 * 26 + 1, width),
        "transformer.embed_tokens.weight": (500, text_width),
        "text_projection": (text_width, 700),
    }
    shapes |= {f"blocks.{layer}.mlp.fc1.weight": (1000, width) for layer in range(2)}
    shapes |= {f"transformer.layers.{layer}.mlp.gate_proj.weight": (2000, text_width) for layer in range(3)}
    return {name: torch.empty(1).expand(shape) for name, shape in shapes.items()}


def test_sizes_come_from_the_shapes(tmp_path):
    torch.save(stub(3200, 4096), tmp_path / "a.pth")
    config = config_of_shapes(from_pth(open_weights(tmp_path / "a.pth")))
    vision, text = config.vision_config, config.qllama_config
    assert (vision.hidden_size, vision.num_attention_heads, vision.num_hidden_layers) == (3200, 25, 2)
    assert (vision.intermediate_size, vision.image_size, vision.patch_size) == (1000, 364, 14)
    assert (text.hidden_size, text.num_attention_heads, text.num_hidden_layers) == (4096, 32, 3)
    assert (text.intermediate_size, text.vocab_size, config.clip_embed_dim) == (2000, 500, 700)


def test_unknown_widths_need_a_config(pth, tmp_path):
    with pytest.raises(BadCheckpoint, match="config="):
        InternVLC.from_pretrained(pth)
    torch.save(stub(64, 4096), tmp_path / "a.pth")
    with pytest.raises(BadCheckpoint, match="config="):
        InternVLC.from_pretrained(tmp_path / "a.pth")
    torch.save({"blocks.0.ls1.gamma": torch.ones(3)}, tmp_path / "b.pth")
    with pytest.raises(BadCheckpoint, match="not a checkpoint of InternVL-C"):
        InternVLC.from_pretrained(tmp_path / "b.pth")
