"""Small random models in the format of transformers: through `load` they equal transformers itself.

Every folder is written by transformers: sizes, weights, tokenizer and image processor as on the hub.
"""

import json
import shutil
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from PIL import Image
from polylens.backbone.errors import BadCheckpoint
from polylens.clip.encoder import Encoder
from polylens.clip.hugging_face import FAMILIES
from polylens.clip.load import load
from polylens.errors import InvalidInput, MissingExtra
from torch.nn.functional import normalize

transformers: Any = pytest.importorskip("transformers", reason="transformers is an extra")

TEXTS = ["a red bicycle", "two birds", "一只猫", "a", "birds " * 40]
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 20,
}
XLMR = TEXT | {"max_position_embeddings": 22, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}


def clip_tokenizer() -> Any:
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return transformers.CLIPTokenizer(vocab={p: i for i, p in enumerate(pieces)}, merges=[])


def bert_tokenizer() -> Any:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz一只猫"]
    pieces += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    return transformers.BertTokenizer(vocab={p: i for i, p in enumerate(pieces)})


def xlmr_tokenizer() -> Any:
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces = [(piece, -2.0) for piece in ("▁", *"abcdefghijklmnopqrstuvwxyz一只猫")]
    return transformers.XLMRobertaTokenizer(vocab=[*special, *pieces])


def siglip_tokenizer(folder: Path) -> Any:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 4),
        model_prefix=str(folder / "spiece"),
        vocab_size=40,
        hard_vocab_limit=False,
        bos_id=-1,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        minloglevel=2,
    )
    return transformers.SiglipTokenizer(str(folder / "spiece.model"), model_max_length=64)


def network(kind: str, words: int) -> Any:
    """A random network of the family for a tokenizer of so many pieces."""
    text, xlmr = TEXT | {"vocab_size": words}, XLMR | {"vocab_size": words}
    if kind == "clip":
        ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
        config = transformers.CLIPConfig(text_config=text | ends, vision_config=VISION, projection_dim=16)
        return transformers.CLIPModel(config)
    if kind == "metaclip_2":
        own = xlmr | {"max_position_embeddings": 20}  # its positions start at 0
        config = transformers.MetaClip2Config(text_config=own, vision_config=VISION, projection_dim=16)
        return transformers.MetaClip2Model(config)
    if kind == "chinese_clip":
        config = transformers.ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
        return transformers.ChineseCLIPModel(config)
    if kind == "altclip":
        own = xlmr | {"project_dim": 16}
        config = transformers.AltCLIPConfig(text_config=own, vision_config=VISION, projection_dim=16)
        return transformers.AltCLIPModel(config)
    if kind == "siglip":
        own = text | {"hidden_size": 32, "projection_size": 32}
        config = transformers.SiglipConfig(text_config=own, vision_config=VISION)
        return transformers.SiglipModel(config)
    towers = (transformers.ViTConfig(**VISION), transformers.XLMRobertaConfig(**xlmr))
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(*towers, projection_dim=16)
    return transformers.VisionTextDualEncoderModel(config)


def processor(kind: str) -> Any:
    """The image processor that such folders have on the hub, at 32 pixels."""
    crop = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    whole = {"size": {"height": 32, "width": 32}}
    if kind == "siglip":
        return transformers.SiglipImageProcessor(**whole)
    if kind == "vision-text-dual-encoder":
        return transformers.ViTImageProcessor(**whole)
    if kind == "chinese_clip":
        return transformers.ChineseCLIPImageProcessor(**whole, do_center_crop=False)
    return transformers.CLIPImageProcessor(**crop)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each family."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    made = {}
    for seed, kind in enumerate(FAMILIES):
        made[kind] = folder = tmp_path_factory.mktemp(kind)
        tokenizers: dict[str, Callable[[], Any]] = {
            "clip": clip_tokenizer,
            "chinese_clip": bert_tokenizer,
            "siglip": lambda folder=folder: siglip_tokenizer(folder),
        }
        tokenizer = tokenizers.get(kind, xlmr_tokenizer)()
        torch.manual_seed(seed)
        model = network(kind, len(tokenizer))
        with torch.no_grad():  # as drawn, all vectors are nearly the same
            for parameter in model.parameters():
                if parameter.ndim:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        processor(kind).save_pretrained(folder)
    return made


def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(4)
    sizes = [(40, 30), (33, 70), (32, 32), (9, 9)]
    return [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def features(model: Any, method: str, **inputs: Any) -> np.ndarray:
    with torch.inference_mode():
        return normalize(getattr(model, method)(**inputs).pooler_output).numpy()


@pytest.mark.parametrize("kind", FAMILIES)
def test_vectors_are_those_of_transformers(folders: dict[str, Path], kind: str) -> None:
    encoder = load(f"hf:{folders[kind]}", device="cpu")
    model = transformers.AutoModel.from_pretrained(folders[kind]).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders[kind])
    images = transformers.AutoImageProcessor.from_pretrained(folders[kind], backend="pil")
    pixels = images(images=pictures(), return_tensors="pt")
    longest = {"truncation": True, "max_length": 20, "return_tensors": "pt"}
    ids = tokenizer(TEXTS, padding="max_length" if kind == "siglip" else True, **longest)
    inputs = {"input_ids": ids.input_ids} | (
        {} if kind == "siglip" else {"attention_mask": ids.attention_mask}
    )
    expected_images = features(model, "get_image_features", **pixels)
    expected_texts = features(model, "get_text_features", **inputs)
    np.testing.assert_allclose(encoder.encode_images(pictures()), expected_images, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected_texts, atol=1e-5)
    given = encoder.embed_pixels(list(pixels["pixel_values"].numpy()))
    np.testing.assert_allclose(given, expected_images, atol=1e-5)
    assert encoder.logit_scale == pytest.approx(model.logit_scale.detach().exp().item())
    assert (encoder.dim, encoder.max_text_tokens) == (expected_texts.shape[1], 20)
    for expected in (expected_images, expected_texts):  # nothing above would be seen on equal vectors
        assert min(np.abs(a - b).max() for a, b in combinations(expected, 2)) > 1e-3


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_text_does_not_depend_on_its_batch(folders: dict[str, Path], kind: str) -> None:
    encoder = load(folders[kind], device="cpu")  # found to be one of transformers without the prefix
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), alone, atol=1e-5)
    assert [encoder.text_truncated(text) for text in TEXTS] == [*[False] * 4, True]


def test_the_default_of_transformers_differs_by_two_grey_levels(folders: dict[str, Path]) -> None:
    """Tensors and Pillow round differently: at most two of 255 levels, over the deviation of a colour."""
    torchvision = transformers.AutoImageProcessor.from_pretrained(folders["clip"], backend="torchvision")
    encoder = load(folders["clip"], device="cpu")
    for picture in pictures():
        theirs = torchvision(images=picture, return_tensors="np")["pixel_values"][0]
        assert np.abs(encoder.prepare_image(picture) - theirs).max() <= 2.01 / 255 / 0.26


def test_pictures_are_as_seen_or_as_stored(folders: dict[str, Path]) -> None:
    service = load(folders["clip"], device="cpu")
    original = load(folders["clip"], device="cpu", preprocess="classification")
    image = pictures()[0]
    turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    images = [image, turned, Image.new("RGB", (8, 8), "white"), clear]
    vectors = service.encode_images(images)
    np.testing.assert_allclose(vectors[0::2], vectors[1::2], atol=1e-5)
    stored = original.encode_images(images)
    assert np.abs(stored[0::2] - stored[1::2]).max(axis=1).min() > 1e-3
    np.testing.assert_allclose(stored[0], vectors[0], atol=1e-6)
    assert service.fingerprint != original.fingerprint


def test_the_fingerprint_names_what_changes_vectors(folders: dict[str, Path], tmp_path: Path) -> None:
    encoder = load(folders["altclip"], device="cpu")
    half = load(folders["altclip"], device="cpu", dtype="bfloat16")
    assert half.fingerprint == encoder.fingerprint and half.model.dtype == torch.bfloat16
    assert (half.encode_texts(TEXTS) * encoder.encode_texts(TEXTS)).sum(axis=1).min() > 0.98
    found = {encoder.fingerprint}
    for file, change in (
        ("tokenizer.json", ("▁", "_")),
        ("preprocessor_config.json", ('"shortest_edge": 32', '"shortest_edge": 40')),
        ("config.json", ('"layer_norm_eps": 1e-05', '"layer_norm_eps": 1e-03')),
    ):
        other = tmp_path / file.removesuffix(".json")
        shutil.copytree(folders["altclip"], other)
        text = (other / file).read_text()
        (other / file).write_text(text.replace(*change))
        assert (other / file).read_text() != text
        found.add(load(other, device="cpu").fingerprint)
    copied = tmp_path / "copied"
    shutil.copytree(folders["altclip"], copied)
    assert load(copied, device="cpu").fingerprint == encoder.fingerprint
    assert len(found) == 4


def test_bad_folders_and_options_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    clip = folders["clip"]
    for name in ("no_pixels", "damaged"):
        shutil.copytree(clip, tmp_path / name)
    (tmp_path / "no_pixels" / "preprocessor_config.json").unlink()
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"damaged")
    for name in ("no_pixels", "damaged"):
        with pytest.raises(BadCheckpoint, match="transformers cannot load"):
            load(tmp_path / name, device="cpu")
    for options, message in (
        ({"head": "G"}, "no head 'G'"),
        ({"preprocess": "squash"}, "got 'squash'"),
        ({"device": {"": "cpu"}}, "one device"),
        ({"dtype": "int8"}, "dtype must be"),
    ):
        with pytest.raises(InvalidInput, match=message):
            load(clip, **options)
    (tmp_path / "no_pixels" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InvalidInput, match="model_type in config.json must be one of altclip"):
        load(f"hf:{tmp_path / 'no_pixels'}")


def test_lacking_weights_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["clip"], tmp_path / "lacking")
    safetensors: Any = pytest.importorskip("safetensors.torch")
    state = safetensors.load_file(tmp_path / "lacking" / "model.safetensors")
    del state["text_projection.weight"]
    safetensors.save_file(state, tmp_path / "lacking" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadCheckpoint, match="lack 1 tensors: text_projection.weight"):
        load(tmp_path / "lacking", device="cpu")


def test_code_of_a_folder_is_never_run(folders: dict[str, Path], tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    shutil.copytree(folders["clip"], evil)
    (evil / "code.py").write_text("import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n")
    config = json.loads((evil / "config.json").read_text())
    (evil / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "code.Model"}}))
    encoder: Encoder = load(evil, device="cpu")
    assert encoder.dim == 16 and not (evil / "ran").exists()


def test_without_the_extra_it_says_how_to_install_it(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'polylens\[hf\]'"):
        load(folders["clip"])
