"""InternVL-C against the original's numbers, and what it does with checkpoints."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from polylens.backbone.errors import BadCheckpoint
from polylens.clip.config import InternVLConfig
from polylens.clip.internvl_c import InternVLC, similarity, trim_padding
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def model(golden):
    return InternVLC.from_pretrained(golden / "internvl_tiny/checkpoint")


@pytest.fixture(scope="module")
def inputs(arrays):
    return arrays("internvl_tiny/inputs.npz")


@pytest.fixture(scope="module")
def expected(arrays):
    return arrays("internvl_tiny/expected.npz")


@torch.no_grad()
def test_image_vectors_equal_the_original(model, inputs, expected, close):
    tokens = model.vision_model(inputs["pixel_values"])
    assert close(tokens, expected["vision_last_hidden_state"])
    assert close(model.encode_image(inputs["pixel_values"]), expected["encode_image_C"])
    assert not close(model.encode_image(inputs["pixel_values"].flip(0)), expected["encode_image_C"])


@torch.no_grad()
def test_text_vectors_equal_the_original(model, inputs, expected, close):
    assert close(model.text_features(inputs["input_ids"]), expected["get_text_features"])
    assert close(model.encode_text(inputs["input_ids"]), expected["encode_text"])
    for case in ("edge_zero_inside", "edge_all_zero"):
        assert close(model.encode_text(inputs[f"{case}_input_ids"]), expected[f"{case}_encode_text"])


@torch.no_grad()
def test_logits_equal_the_original(model, inputs, expected, close_logits):
    logits = similarity(*model(inputs["pixel_values"], inputs["input_ids"]), model.logit_scale)
    assert close_logits(logits, expected["logits_per_image_C"])
    assert close_logits(logits.T, expected["logits_per_text_C"])


@torch.no_grad()
def test_epsilon_of_pooling_and_final_norm_on_tiny_inputs(model, inputs, expected, close):
    """These inputs are so small that another epsilon shows: the control uses one."""
    assert close(model.clip_projector(inputs["small_vision_tokens"]), expected["small_clip_projector"])
    assert close(model.qllama.norm(inputs["small_query_tokens"]), expected["small_qllama_final_norm"])
    x = inputs["small_query_tokens"]
    wrong = torch.nn.functional.rms_norm(x, (x.shape[-1],), model.qllama.norm.weight, 1e-5)
    assert not close(wrong, expected["small_qllama_final_norm"])


@torch.no_grad()
def test_text_vectors_do_not_depend_on_padding_or_neighbours(model, inputs, close):
    ids = inputs["input_ids"]
    together = model.encode_text(ids)
    padded = model.encode_text(torch.nn.functional.pad(ids, (0, 64)))
    assert torch.equal(together, padded)
    for row in range(len(ids)):
        assert close(model.encode_text(ids[row : row + 1]), together[row : row + 1])
    longer = ids.clone()
    longer[2, 5] = 7
    assert not close(model.encode_text(longer)[2], together[2])


def test_trim_padding_keeps_zeros_inside_and_one_column():
    assert trim_padding(torch.tensor([[1, 0, 3, 0], [1, 0, 0, 0]])).tolist() == [[1, 0, 3], [1, 0, 0]]
    assert trim_padding(torch.zeros(2, 5, dtype=torch.long)).shape == (2, 1)


@torch.no_grad()
def test_saved_model_holds_only_its_own_names_and_loads_bit_equal(model, golden, inputs, tmp_path):
    model.save_pretrained(tmp_path)
    full = load_file(golden / "internvl_tiny/checkpoint/model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    dropped = {name for name in full if name not in saved}
    assert saved.keys() <= full.keys()
    assert all(torch.equal(saved[name], full[name]) for name in saved)
    assert {name for name in dropped if "qllama.model.layers" not in name} == {
        name for name in full if name.startswith(("query", "clip_projector2", "itm_head", "qllama.lm_head"))
    }
    assert all(".cross_attn." in name for name in dropped if "qllama.model.layers" in name)
    again = InternVLC.from_pretrained(tmp_path)
    assert again.config == model.config
    assert torch.equal(again.encode_text(inputs["input_ids"]), model.encode_text(inputs["input_ids"]))


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        ("qllama.model.layers.0.cross_attn.gate.weight", "unexpected"),
        ("clip_projector3.proj.weight", "unexpected"),
        (None, "missing"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(golden, tmp_path, extra, word):
    shutil.copy(golden / "internvl_tiny/checkpoint/config.json", tmp_path)
    weights = load_file(golden / "internvl_tiny/checkpoint/model.safetensors")
    save_file(weights, tmp_path / "model.safetensors")
    InternVLC.from_pretrained(tmp_path)
    if extra is None:
        extra = "text_projection"
        del weights[extra]
    else:
        weights[extra] = torch.zeros(3)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(BadCheckpoint, match=f"{word}.*{extra}"):
        InternVLC.from_pretrained(tmp_path)


@torch.no_grad()
def test_bfloat16_stays_near(golden, inputs, expected):
    model = InternVLC.from_pretrained(golden / "internvl_tiny/checkpoint", dtype="bfloat16")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    for got, name in zip(
        model(inputs["pixel_values"], inputs["input_ids"]), ("encode_image_C", "encode_text"), strict=True
    ):
        assert torch.cosine_similarity(got.float(), expected[name]).min() > 0.99


def fresh(golden: Path) -> InternVLC:
    values = json.loads((golden / "internvl_tiny/checkpoint/config.json").read_text())
    values["vision_config"]["initializer_range"] = 0.02
    torch.manual_seed(0)
    return InternVLC(InternVLConfig.from_dict(values))


def test_fresh_weights_train(golden, inputs):
    """Every parameter gets a gradient, and a few steps tell three pictures and texts apart."""
    model = fresh(golden).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        logits = similarity(*model(inputs["pixel_values"], inputs["input_ids"][:3]), model.logit_scale)
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(3))
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad is not None for weight in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_recomputed_activations_give_the_same_gradients(golden, inputs):
    gradients = []
    for recompute in (False, True):
        model = fresh(golden).train()
        model.qllama.gradient_checkpointing = model.vision_model.gradient_checkpointing = recompute
        images, texts = model(inputs["pixel_values"], inputs["input_ids"][:3])
        (images * texts).sum().backward()
        gradients.append([weight.grad for weight in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert (plain is None) == (recomputed is None)
        assert plain is None or torch.allclose(plain, recomputed, atol=1e-6)
