"""An open_clip model through the Encoder equals open_clip itself."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from polylens.clip.encoder import Encoder
from polylens.clip.load import load
from polylens.clip.open_clip import split
from polylens.errors import InvalidInput, MissingExtra

MODEL = "polylens-test-tiny"
LETTERS = "abcdefghijklmnopqrstuvwxyz!"
TEXTS = ["a red bicycle", "!", "!!", "two birds on a wire " * 30]


@pytest.fixture(scope="module")
def open_clip() -> Any:
    return pytest.importorskip("open_clip", reason="open_clip is an extra")


@pytest.fixture(scope="module")
def weights(open_clip: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a tiny random model's weights, its sizes made known to open_clip."""
    folder = tmp_path_factory.mktemp("open_clip")
    vision = {"image_size": 32, "layers": 2, "width": 48, "head_width": 24, "patch_size": 8}
    text = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (folder / f"{MODEL}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{MODEL}.json")
    torch.manual_seed(3)
    torch.save(open_clip.create_model(MODEL).state_dict(), folder / "tiny.pt")
    return folder / "tiny.pt"


@pytest.fixture(scope="module")
def encoder(weights: Path) -> Encoder:
    return load(f"open_clip:{MODEL}/{weights}", device="cpu")


def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(4)
    sizes = [(40, 30), (33, 70), (32, 32), (9, 9)]
    return [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def test_vectors_are_those_of_open_clip(open_clip: Any, weights: Path, encoder: Encoder) -> None:
    model, transform = open_clip.create_model_from_pretrained(MODEL, str(weights))
    with torch.inference_mode():
        pixels = torch.stack([transform(image) for image in pictures()])
        images = model.eval().encode_image(pixels, normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer(MODEL)(TEXTS), normalize=True)
    np.testing.assert_allclose(encoder.encode_images(pictures()), images.numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts.numpy(), atol=1e-5)
    assert encoder.logit_scale == pytest.approx(model.logit_scale.detach().exp().item())
    assert (encoder.dim, encoder.max_text_tokens) == (16, 20)


def test_truncation_is_said(encoder: Encoder) -> None:
    assert [encoder.text_truncated(text) for text in TEXTS] == [False, False, False, True]
    words = encoder.max_text_tokens - 2
    assert not encoder.text_truncated("bird " * words) and encoder.text_truncated("bird " * (words + 1))


def test_pictures_are_turned_upright_and_put_on_white(encoder: Encoder) -> None:
    image = pictures()[0]
    turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    vectors = encoder.encode_images([image, turned, Image.new("RGB", (8, 8), "white"), clear])
    np.testing.assert_allclose(vectors[0::2], vectors[1::2], atol=1e-5)
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


def test_the_original_modes_are_open_clip_alone(open_clip: Any, weights: Path, encoder: Encoder) -> None:
    original = load(f"open_clip:{MODEL}/{weights}", device="cpu", preprocess="classification")
    _, transform = open_clip.create_model_from_pretrained(MODEL, str(weights))
    image = pictures()[0]
    image.putalpha(128)
    image.getexif()[0x0112] = 6
    # Data sets give pictures to open_clip's transform in RGB and do not turn them.
    np.testing.assert_array_equal(original.prepare_image(image), transform(image.convert("RGB")).numpy())
    assert np.abs(original.prepare_image(image) - encoder.prepare_image(image)).max() > 0.1
    assert original.fingerprint != encoder.fingerprint


def test_a_text_tower_of_transformers(open_clip: Any, tmp_path: Path) -> None:
    """XLM-RoBERTa as in xlm-roberta-base-ViT-B-32 and -large-ViT-H-14, its files in a local folder."""
    transformers = pytest.importorskip("transformers", reason="transformers is an extra")
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    tokenizer = transformers.XLMRobertaTokenizer(vocab=[*special, *((letter, -2.0) for letter in LETTERS)])
    tokenizer.save_pretrained(tmp_path)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.XLMRobertaConfig(**sizes, vocab_size=len(tokenizer), max_position_embeddings=24)
    config.save_pretrained(tmp_path)
    name = "polylens-test-xlmr"
    vision = {"image_size": 32, "layers": 2, "width": 48, "head_width": 24, "patch_size": 8}
    text = {"hf_model_name": str(tmp_path), "hf_tokenizer_name": str(tmp_path), "context_length": 20}
    text |= {"hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler", "hf_model_pretrained": False}
    (tmp_path / f"{name}.json").write_text(
        json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text})
    )
    open_clip.add_model_config(tmp_path / f"{name}.json")
    torch.manual_seed(5)
    model = open_clip.create_model(name, pretrained_hf=False).eval()
    torch.save(model.state_dict(), tmp_path / "tiny.pt")
    encoder = load(f"open_clip:{name}/{tmp_path}/tiny.pt", device="cpu")
    with torch.inference_mode():
        texts = model.encode_text(open_clip.get_tokenizer(name)(TEXTS), normalize=True)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts.numpy(), atol=1e-5)
    assert [encoder.text_truncated(text) for text in TEXTS] == [False, False, False, True]


def test_the_fingerprint_is_of_the_stored_weights(weights: Path, encoder: Encoder, tmp_path: Path) -> None:
    half = load(f"open_clip:{MODEL}/{weights}", device="cpu", dtype="bfloat16")
    assert half.fingerprint == encoder.fingerprint
    assert (half.encode_texts(TEXTS) * encoder.encode_texts(TEXTS)).sum(axis=1).min() > 0.99
    state = torch.load(weights, weights_only=True)
    state["text_projection"] += 1e-3
    torch.save(state, tmp_path / "other.pt")
    assert load(f"open_clip:{MODEL}/{tmp_path}/other.pt", device="cpu").fingerprint != encoder.fingerprint


def test_a_name_is_split_at_its_first_slash() -> None:
    models = ["ViT-B-32", "ViT-L-14"]
    assert split("ViT-B-32/laion2b_s34b_b79k", models) == ("ViT-B-32", "laion2b_s34b_b79k")
    assert split("ViT-B-32//abs/file.pt", models) == ("ViT-B-32", "/abs/file.pt")
    assert split("hf-hub:owner/name", models) == ("hf-hub:owner/name", None)
    with pytest.raises(InvalidInput, match="no model 'ViT-B32'; close to it: ViT-B-32"):
        split("ViT-B32/openai", models)
    with pytest.raises(InvalidInput, match="got no PRETRAINED"):
        split("ViT-B-32", models)


class Evil:
    """Unpickling it would call a function."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return pytest.fail, ("code of a checkpoint was run",)


def test_bad_weights_and_options_are_refused(open_clip: Any, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged.pt").write_bytes(b"no checkpoint")
    torch.save({"a": torch.zeros(1)}, tmp_path / "foreign.pt")
    torch.save(Evil(), tmp_path / "evil.pt")
    for file in ("missing.pt", "damaged.pt", "foreign.pt", "evil.pt"):
        with pytest.raises(InvalidInput, match="cannot load"):
            load(f"open_clip:{MODEL}/{tmp_path / file}", device="cpu")
    for options, message in (
        ({"head": "G"}, "no head 'G'"),
        ({"preprocess": "squash"}, "got 'squash'"),
        ({"device": {"": "cpu"}}, "one device"),
    ):
        with pytest.raises(InvalidInput, match=message):
            load(f"open_clip:{MODEL}/{weights}", **options)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingExtra, match=r"pip install 'polylens\[open_clip\]'"):
        load("open_clip:ViT-B-32/openai")
