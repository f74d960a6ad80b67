"""Checkpoints fine-tuned at another image size (`force_image_size`)."""

import shutil

import pytest
import torch
from polylens.backbone.errors import BadCheckpoint
from polylens.clip.internvl_c import InternVLC, similarity
from polylens.clip.internvl_g import InternVLG
from safetensors.torch import load_file, save_file

POSITIONS = "vision_model.embeddings.position_embedding"


@pytest.fixture(scope="module")
def stored(golden):
    """Positions stored at the forced size, as the original writes them."""
    return golden / "internvl_tiny_resized/checkpoint"


@pytest.fixture(scope="module")
def native(stored, arrays, tmp_path_factory):
    """The same checkpoint with the positions of the size before, which the original refuses."""
    positions = arrays("internvl_tiny_resized/inputs.npz")["position_embedding_native"]
    return write(tmp_path_factory.mktemp("native"), stored, positions)


def write(folder, stored, positions):
    shutil.copy(stored / "config.json", folder)
    weights = load_file(stored / "model.safetensors") | {POSITIONS: positions}
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("form", ["stored", "native"])
@torch.no_grad()
def test_vectors_equal_the_original(form, arrays, close, close_logits, request):
    folder = request.getfixturevalue(form)
    inputs = arrays("internvl_tiny_resized/inputs.npz")
    expected = arrays("internvl_tiny_resized/expected.npz")
    pixels, ids = inputs["pixel_values"], inputs["input_ids"]
    c, g = InternVLC.from_pretrained(folder), InternVLG.from_pretrained(folder)
    assert c.config.vision.image_size == 84
    positions = c.vision_model.embeddings.position_embedding
    assert torch.allclose(positions, expected["position_embedding_resized"], atol=1e-5)
    assert close(c.vision_model(pixels), expected["vision_last_hidden_state"])
    assert close(c.encode_text(ids), expected["encode_text"])
    for model, head, scale in ((c, "C", c.logit_scale), (g, "G", g.c.logit_scale)):
        images = model.encode_image(pixels)
        assert close(images, expected[f"encode_image_{head}"])
        logits = similarity(images, model.encode_text(ids), scale)
        assert close_logits(logits, expected[f"logits_per_image_{head}"])


@torch.no_grad()
def test_a_saved_model_keeps_its_size(stored, tmp_path, arrays):
    pixels = arrays("internvl_tiny_resized/inputs.npz")["pixel_values"]
    model = InternVLC.from_pretrained(stored)
    model.save_pretrained(tmp_path)
    again = InternVLC.from_pretrained(tmp_path)
    assert again.config.vision.image_size == 84
    assert torch.equal(again.encode_image(pixels), model.encode_image(pixels))


def test_positions_that_are_no_square_grid_are_refused(stored, tmp_path):
    InternVLC.from_pretrained(write(tmp_path, stored, torch.zeros(1, 17, 64)))
    with pytest.raises(ValueError, match="18 positions"):
        InternVLC.from_pretrained(write(tmp_path, stored, torch.zeros(1, 18, 64)))
    with pytest.raises(BadCheckpoint, match="position_embedding"):
        InternVLC.from_pretrained(write(tmp_path, stored, torch.zeros(1, 37, 60)))
