"""Image-text matching and the stage-2 losses against the original's."""

import pytest
import torch
from polylens.clip.internvl_g import InternVLG
from polylens.clip.training.loss import contrastive_loss
from polylens.errors import InvalidInput
from torch.nn import functional as F


@pytest.fixture(scope="module")
def model(golden):
    return InternVLG.from_pretrained(golden / "internvl_tiny/checkpoint")


@pytest.fixture(scope="module")
def inputs(arrays):
    """Images and texts as the original lines them up: first the wrong pairs, then the right ones."""
    arrays = arrays("internvl_tiny/inputs.npz")
    ids = torch.cat((arrays["itm_negative_input_ids"], arrays["itm_positive_input_ids"]))
    return arrays | {"pixels": arrays["pixel_values"].repeat(2, 1, 1, 1), "ids": ids}


@pytest.fixture(scope="module")
def expected(arrays):
    return arrays("internvl_tiny/expected.npz")


@torch.no_grad()
def test_features_equal_the_original(model, inputs, expected, close):
    image = model.c.vision_model(inputs["pixels"])
    features = model.matching_features(image, inputs["ids"])
    assert close(features, expected["itm_query_hidden"])
    assert not close(model.matching_features(image, inputs["ids"].flip(0)), expected["itm_query_hidden"])
    assert close(model.itm_head(features), expected["itm_head_per_query"])


@torch.no_grad()
def test_logits_and_loss_equal_the_original(model, inputs, expected, close_logits):
    logits = model.match(inputs["pixels"], inputs["ids"])
    assert close_logits(logits, expected["itm_logits"])
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert close_logits(F.cross_entropy(logits, labels), expected["itm_loss"])


@torch.no_grad()
def test_contrastive_loss_of_stage_two_equals_the_original(model, inputs, expected, close_logits):
    """The sum of the losses of InternVL-C's vectors and of the queries' vectors."""
    texts = F.normalize(model.encode_text(inputs["itm_summarize_input_ids"]), dim=-1)
    groups, scale = inputs["itm_image_ids"], model.c.logit_scale.exp()
    direct, queried = model.image_vectors(inputs["pixel_values"])
    loss = sum(contrastive_loss(images, texts, groups, groups, scale) for images in (direct, queried))
    assert close_logits(loss, expected["itc_loss"])
    assert close_logits(loss + expected["itm_loss"], expected["total_loss"])


@torch.no_grad()
def test_one_image_goes_with_all_texts(model, inputs, close_logits):
    one = model.match(inputs["pixels"][:1], inputs["ids"])
    each = model.match(inputs["pixels"][:1].expand(6, -1, -1, -1), inputs["ids"])
    assert close_logits(one, each)
    with pytest.raises(InvalidInput, match="2 and 6"):
        model.match(inputs["pixels"][:2], inputs["ids"])


@torch.no_grad()
def test_padding_changes_nothing(model, inputs, close_logits):
    padded = F.pad(inputs["ids"], (0, 70))
    whole = model.match(inputs["pixels"], padded)
    assert torch.equal(whole, model.match(inputs["pixels"], inputs["ids"]))
    alone = model.match(inputs["pixels"][2:3], inputs["ids"][2:3])
    assert close_logits(alone, whole[2:3])
