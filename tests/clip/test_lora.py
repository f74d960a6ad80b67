"""Checkpoints with adapters, merged while loading, against the original's."""

import json
import weakref
from collections import Counter

import pytest
import torch
from polylens.backbone.errors import BadCheckpoint
from polylens.backbone.weights import SafetensorsReader, open_weights
from polylens.clip.internvl_c import InternVLC
from polylens.clip.internvl_g import InternVLG
from polylens.clip.lora import merge_matrix
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def old(golden):
    """The fixture as peft before 0.7 names it."""
    return golden / "internvl_tiny_lora/checkpoint"


@pytest.fixture(scope="module")
def new(old, tmp_path_factory):
    """The same weights as peft 0.7 and later name them."""
    pairs = json.loads((old.parent / "key_names.json").read_text())["peft_lt_0.7_to_peft_ge_0.7"]
    weights = load_file(old / "model.safetensors")
    assert weights.keys() == {before for before, _ in pairs}
    return write(tmp_path_factory.mktemp("new"), old, {after: weights[before] for before, after in pairs})


def write(folder, old, weights, **changed):
    save_file(weights, folder / "model.safetensors")
    values = json.loads((old / "config.json").read_text()) | changed
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def test_a_product_by_hand():
    down, up = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]])
    got = merge_matrix(torch.ones(2, 2, dtype=torch.bfloat16), down, up)
    assert got.dtype == torch.float32
    assert got.tolist() == [[7.0, 13.0], [9.0, 17.0]]


@pytest.mark.parametrize("naming", ["old", "new"])
@pytest.mark.parametrize("merged", ["merged", "unmerged"])
@torch.no_grad()
def test_vectors_equal_the_original(naming, merged, arrays, close, request):
    folder = request.getfixturevalue(naming)
    inputs, expected = arrays("internvl_tiny_lora/inputs.npz"), arrays("internvl_tiny_lora/expected.npz")
    g = InternVLG.from_pretrained(folder)
    c = InternVLC.from_pretrained(folder)
    assert close(g.encode_image(inputs["pixel_values"]), expected[f"{merged}_encode_image_G"])
    assert close(c.encode_image(inputs["pixel_values"]), expected[f"{merged}_encode_image_C"])
    assert close(c.text_features(inputs["input_ids"]), expected[f"{merged}_get_text_features"])
    for model in (g, c):
        assert close(model.encode_text(inputs["input_ids"]), expected[f"{merged}_encode_text"])


def test_merged_matrices_equal_the_original(old, arrays):
    state = InternVLC.from_pretrained(old).state_dict()
    sample = arrays("internvl_tiny_lora/merged_weights_sample.npz")
    stored = load_file(old / "model.safetensors")
    for name, want in sample.items():
        got = state[name.replace("qllama.model.", "qllama.")]
        assert torch.allclose(got, want, atol=1e-6)
        tower, rest = name.split(".", 1)
        assert not torch.allclose(stored[f"{tower}.base_model.model.{rest}"], want, atol=1e-4)


def test_generated_ids_equal_the_original(old, arrays):
    cases = json.loads((old.parent / "generate.json").read_text())["merged"]
    pixels = arrays("internvl_tiny_lora/inputs.npz")["pixel_values"]
    model = InternVLG.from_pretrained(old)
    for case in cases.values():
        options = {name: value for name, value in case["kwargs"].items() if name != "do_sample"}
        prompt = torch.tensor(case["prompt_ids"]), torch.tensor(case["attention_mask"])
        assert model.generate(pixels, *prompt, **options).tolist() == case["sequences"]


@torch.no_grad()
def test_a_merged_model_is_saved_without_adapters(old, tmp_path, arrays):
    ids = arrays("internvl_tiny_lora/inputs.npz")["input_ids"]
    model = InternVLC.from_pretrained(old)
    model.save_pretrained(tmp_path)
    assert not [name for name in load_file(tmp_path / "model.safetensors") if "lora" in name]
    assert torch.equal(InternVLC.from_pretrained(tmp_path).encode_text(ids), model.encode_text(ids))


def test_each_stored_tensor_is_read_once_and_alone(old, monkeypatch):
    """So a model is never in memory twice: nothing is kept after it was copied into its place."""
    reads, alive = Counter(), weakref.WeakSet()
    read = SafetensorsReader.read

    def counted(self, name):
        tensor = read(self, name)
        reads[name] += 1
        alive.add(tensor)
        most.append(len(alive))
        return tensor

    most = []
    monkeypatch.setattr(SafetensorsReader, "read", counted)
    InternVLG.from_pretrained(old)
    assert reads.keys() == load_file(old / "model.safetensors").keys()
    assert set(reads.values()) == {1}
    assert max(most) <= 4, "a matrix, its adapter's halves, and the tensor before"
    assert len(alive) <= 1
    kept = dict(open_weights(old))
    assert len(alive) == len(kept) > 100


HALF = "vision_model.base_model.model.encoder.layers.1.attn.qkv.lora_B.default.weight"


def test_adapters_that_do_not_fit_are_refused(old, tmp_path):
    weights = load_file(old / "model.safetensors")
    InternVLC.from_pretrained(write(tmp_path, old, weights))
    incomplete = {name: tensor for name, tensor in weights.items() if name != HALF}
    with pytest.raises(BadCheckpoint, match="without lora_A.*: .*layers.1.attn.qkv.weight$"):
        InternVLC.from_pretrained(write(tmp_path, old, incomplete))
    with pytest.raises(BadCheckpoint, match="rank 8"):
        InternVLC.from_pretrained(write(tmp_path, old, weights, use_qllama_lora=8))
    with pytest.raises(BadCheckpoint, match="states them for: qllama"):
        InternVLC.from_pretrained(write(tmp_path, old, weights, use_backbone_lora=0))
    doubled = weights | {HALF.replace("lora_B.default", "base_layer"): torch.zeros(192, 64)}
    with pytest.raises(BadCheckpoint, match="qkv.weight twice"):
        InternVLC.from_pretrained(write(tmp_path, old, doubled))
    plain = {name: tensor for name, tensor in weights.items() if "lora" not in name}
    with pytest.raises(BadCheckpoint, match="holds adapters for: nothing"):
        InternVLC.from_pretrained(write(tmp_path, old, plain))
