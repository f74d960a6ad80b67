"""InternVL-G against the original's numbers, and what it does with checkpoints."""

import json
import logging
import shutil

import pytest
import torch
from polylens.backbone.errors import BadCheckpoint
from polylens.clip.internvl_c import InternVLC, similarity
from polylens.clip.internvl_g import InternVLG
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@pytest.fixture(scope="module")
def folder(golden):
    return golden / "internvl_tiny/checkpoint"


@pytest.fixture(scope="module")
def model(folder):
    return InternVLG.from_pretrained(folder)


@pytest.fixture(scope="module")
def inputs(arrays):
    return arrays("internvl_tiny/inputs.npz")


@pytest.fixture(scope="module")
def expected(arrays):
    return arrays("internvl_tiny/expected.npz")


@torch.no_grad()
def test_query_states_equal_the_original(model, inputs, expected, close):
    states = []
    image = model.c.vision_model(inputs["pixel_values"])
    result = model.query_features(image, states)
    assert close(result, expected["get_image_features_1_query"])
    assert len(states) == 5
    for index, state in enumerate(states):
        assert close(state, expected[f"query_hidden_states_{index}"])
    blind = model.c.qllama(model.query_tokens.expand(3, -1, -1))
    assert not close(blind, expected["get_image_features_1_query"])


@torch.no_grad()
def test_vectors_equal_the_original(model, inputs, expected, close):
    image = model.c.vision_model(inputs["pixel_values"])
    pooled = model.clip_projector2(model.query_features(image))
    assert close(pooled, expected["clip_projector2_of_query"])
    assert close(model.encode_image(inputs["pixel_values"]), expected["encode_image_G"])
    assert close(model.encode_text(inputs["input_ids"]), expected["encode_text"])
    assert not close(model.c.encode_image(inputs["pixel_values"]), expected["encode_image_G"])


@torch.no_grad()
def test_logits_equal_the_original(model, inputs, expected, close_logits):
    logits = similarity(*model(inputs["pixel_values"], inputs["input_ids"]), model.c.logit_scale)
    assert close_logits(logits, expected["logits_per_image_G"])
    assert close_logits(logits.T, expected["logits_per_text_G"])


@torch.no_grad()
def test_epsilons_on_tiny_inputs(model, inputs, expected, close):
    queries, image = inputs["small_query_tokens"], inputs["small_vision_tokens"]
    read = model.c.qllama.layers[0].cross_attn(queries, image)
    assert close(read, expected["small_cross_attn_layer0"])
    assert close(model.clip_projector2(queries), expected["small_clip_projector2"])
    assert not close(model.clip_projector2(queries * 1.5), expected["small_clip_projector2"])


@torch.no_grad()
def test_only_the_queries_read_the_image(model, inputs):
    """Fewer positions than queries read nothing, text after the queries reads only through them."""
    image = model.c.vision_model(inputs["pixel_values"])
    layer = model.c.qllama.layers[0]
    turn = (torch.ones(1, 1, 12, 12), torch.zeros(1, 1, 12, 12))
    x = torch.randn(3, 12, 48, generator=torch.Generator().manual_seed(0))
    seeing, blind = layer(x, turn, None, image, None), layer(x, turn, None, None, None)
    assert torch.equal(seeing[:, 8:], blind[:, 8:])
    assert not torch.equal(seeing[:, :8], blind[:, :8])
    short = (turn[0][:, :, :7], turn[1][:, :, :7])
    assert torch.equal(layer(x[:, :7], short, None, image, None), layer(x[:, :7], short, None, None, None))


@torch.no_grad()
def test_tying_as_the_original_does_by_default(folder, inputs, arrays, close):
    tied = arrays("internvl_tiny/expected_tied_default.npz")
    generation = json.loads((folder.parent / "generate.json").read_text())["greedy"]
    prompt = torch.tensor(generation["prompt_ids"]), torch.tensor(generation["attention_mask"])
    for choice in (True, False):
        model = InternVLG.from_pretrained(folder, tie_word_embeddings=choice)
        shared = model.lm_head.weight is model.c.qllama.embed_tokens.weight
        assert shared is choice
        assert close(model.encode_text(inputs["input_ids"]), tied["encode_text"]) is choice
        assert close(model.encode_image(inputs["pixel_values"]), tied["encode_image_G"])
        ids = model.generate(inputs["pixel_values"], *prompt, max_new_tokens=12)
        assert torch.equal(ids, tied["greedy_sequences"]) is choice
    text = InternVLC.from_pretrained(folder, tie_word_embeddings=True).encode_text(inputs["input_ids"])
    assert close(text, tied["encode_text"])


@pytest.mark.parametrize("kind", [InternVLC, InternVLG])
def test_a_silent_config_loads_as_stored_and_warns(kind, folder, tmp_path, inputs, expected, close, caplog):
    shutil.copytree(folder, tmp_path / "model")
    kind.from_pretrained(tmp_path / "model")
    assert not caplog.records
    values = json.loads((folder / "config.json").read_text())
    del values["tie_word_embeddings"]
    (tmp_path / "model/config.json").write_text(json.dumps(values))
    with caplog.at_level(logging.WARNING):
        model = kind.from_pretrained(tmp_path / "model")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "tie_word_embeddings" in caplog.text
    with torch.no_grad():
        assert close(model.encode_text(inputs["input_ids"]), expected["encode_text"])


@pytest.mark.parametrize("tie", [None, True])
@torch.no_grad()
def test_saved_model_loads_bit_equal(folder, inputs, tmp_path, tie):
    model = InternVLG.from_pretrained(folder, tie_word_embeddings=tie)
    model.save_pretrained(tmp_path)
    assert ("qllama.lm_head.weight" in load_file(tmp_path / "model.safetensors")) is (tie is None)
    again = InternVLG.from_pretrained(tmp_path)
    states = model.state_dict(), again.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_internvl_g_needs_all_of_a_checkpoint(folder, tmp_path):
    InternVLC.from_pretrained(folder).save_pretrained(tmp_path)
    InternVLC.from_pretrained(tmp_path)
    with pytest.raises(BadCheckpoint, match="missing.*query_tokens"):
        InternVLG.from_pretrained(tmp_path)


class OneDevice(TorchDispatchMode):
    """Refuses, as GPUs do, to compute with tensors of two devices at once (an index may be on the CPU)."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor) and one.ndim]
        if len({one.device for one in tensors}) > 1 and "copy" not in str(func) and "index" not in str(func):
            raise RuntimeError(f"{func} mixes devices")
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def test_towers_may_live_on_several_devices(folder, inputs):
    """The second half lives on the meta device."""
    halves = {"": "cpu", "c.qllama.layers.2": "meta", "c.qllama.layers.3": "meta", "c.qllama.norm": "meta"}
    halves |= {"c.text_projection": "meta", "clip_projector2": "meta", "itm_head": "meta", "lm_head": "meta"}
    model = InternVLG.from_pretrained(folder, device=halves)
    pixels, prompt = inputs["pixel_values"], inputs["itm_positive_input_ids"][:, :2]
    with OneDevice():
        assert model.encode_image(pixels).shape == (3, 32)
        assert model.encode_text(inputs["input_ids"]).shape == (5, 32)
        assert model.match(pixels, prompt).shape == (3, 2)
        decoder = model.start_decoding(pixels, prompt, torch.ones_like(prompt))
        decoder.select(torch.tensor([0, 0, 2]))
        assert decoder.logits_RV.is_meta
        with pytest.raises(RuntimeError, match="mixes devices"):
            model.lm_head(model.c.qllama.embed(prompt))
