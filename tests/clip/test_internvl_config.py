"""The config of InternVL: reading the hub's, refusing what is no InternVL, and the published sizes."""

import json
from dataclasses import FrozenInstanceError

import pytest
import torch
from polylens.clip.config import InternVLConfig
from polylens.clip.internvl_c import InternVLC
from polylens.clip.internvl_g import InternVLG
from polylens.clip.sizes import INTERNVL_14B_224PX
from polylens.errors import InvalidInput


@pytest.fixture
def values(golden):
    return json.loads((golden / "internvl_tiny/checkpoint/config.json").read_text())


def test_the_hubs_config_is_read_and_comes_back(values):
    config = InternVLConfig.from_dict(values)
    assert (config.qllama_config.hidden_size, config.vision_config.hidden_size) == (48, 64)
    assert (config.force_image_size, config.use_qllama_lora, config.tie_word_embeddings) == (0, 0, False)
    assert InternVLConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(FrozenInstanceError):
        config.clip_embed_dim = 3


def test_a_silent_config_stays_silent_about_tying(values):
    del values["tie_word_embeddings"]
    config = InternVLConfig.from_dict(values)
    assert config.tie_word_embeddings is None
    assert InternVLConfig.from_dict(config.to_dict()) == config


def test_qllama_config_decides_what_an_internvl_is(values):
    """transformers calls another architecture "internvl" too."""
    other = {"model_type": "internvl", "vision_config": {}, "text_config": {}}
    with pytest.raises(InvalidInput, match="qllama_config"):
        InternVLConfig.from_dict(other)
    del values["model_type"]
    InternVLConfig.from_dict(values)


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("qllama_config", "hidden_act", "gelu"),
        ("qllama_config", "rope_scaling", {"type": "linear", "factor": 2.0}),
        ("qllama_config", "num_key_value_heads", 2),
        ("qllama_config", "pad_token_id", 3),
        ("qllama_config", "hidden_size", 50),
        ("qllama_config", "num_hidden_layers", 0),
        (None, "attn_pool_num_heads", 5),
        (None, "clip_embed_dim", "32"),
        (None, "force_image_size", -1),
        (None, "num_query_token", 0),
    ],
)
def test_what_this_model_is_not_is_refused(values, place, name, value):
    InternVLConfig.from_dict(values)
    (values[place] if place else values)[name] = value
    with pytest.raises(InvalidInput, match=name):
        InternVLConfig.from_dict(values)


def test_a_missing_size_is_named(values):
    del values["clip_embed_dim"], values["qllama_config"]["vocab_size"]
    with pytest.raises(InvalidInput, match="vocab_size"):
        InternVLConfig.from_dict(values)


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_the_published_size_counts_fourteen_billion():
    """InternViT 5.9 B and QLLaMA about 8 B, as the paper says (arXiv 2312.14238, section 3.2)."""
    with torch.device("meta"):
        model = InternVLG(INTERNVL_14B_224PX)
    assert count(model) == pytest.approx(14e9, rel=0.02)
    assert count(model.c.vision_model) == pytest.approx(5.9e9, rel=0.01)
    assert count(model.c.qllama) == pytest.approx(8e9, rel=0.05)
    assert all(weight.is_meta for weight in model.parameters())


def test_internvl_c_does_without_cross_attention():
    with torch.device("meta"):
        names = list(InternVLC(INTERNVL_14B_224PX).qllama.state_dict())
    assert "layers.31.self_attn.q_proj.weight" in names
    assert not [name for name in names if "cross_attn" in name]
