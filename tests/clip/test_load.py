"""`load` on the tiny InternVL of the fixtures: the original's vectors through the Encoder, clear refusals."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from PIL import Image
from polylens.backbone.errors import BadCheckpoint
from polylens.backbone.pixels import Preprocess
from polylens.clip.encoder import Encoder
from polylens.clip.images import open_image
from polylens.clip.load import load
from polylens.errors import InvalidInput, PolylensError
from torch import Tensor
from torch.nn.functional import normalize

Arrays = Callable[[str], dict[str, Tensor]]


def train_tokenizer(path: Path, vocab_size: int) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["summarize:a red bicycle", "two birds on a wire", "一只熊猫"] * 4),
        model_writer=model,
        vocab_size=vocab_size,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    shutil.copytree(golden / "internvl_tiny" / "checkpoint", folder, dirs_exist_ok=True)
    train_tokenizer(folder / "tokenizer.model", 290)
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load(folder, device="cpu")


def picture(width: int = 40, height: int = 30) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [rows * 8 % 256, columns * 6 % 256, (rows * columns) % 256]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


@pytest.mark.parametrize("head", ["C", "G"])
def test_vectors_are_the_original_ones_of_unit_length(folder: Path, arrays: Arrays, head: str) -> None:
    encoder = load(str(folder), head=head, device="cpu")
    inputs, expected = arrays("internvl_tiny/inputs.npz"), arrays("internvl_tiny/expected.npz")
    images = torch.from_numpy(encoder.embed_pixels(list(inputs["pixel_values"].numpy())))
    texts = torch.from_numpy(encoder.embed_ids(list(inputs["input_ids"].numpy())))
    torch.testing.assert_close(images, normalize(expected[f"encode_image_{head}"]), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(texts, normalize(expected["encode_text"]), atol=2e-5, rtol=1e-4)
    logits = encoder.logit_scale * images @ texts.T
    torch.testing.assert_close(logits, expected[f"logits_per_image_{head}"], atol=1e-4, rtol=0)
    assert encoder.dim == 32 and encoder.max_text_tokens == 80


@pytest.mark.parametrize("mode", ["retrieval", "classification"])
def test_opened_pictures_give_the_original_pixels(golden: Path, arrays: Arrays, mode: str) -> None:
    expected = arrays("preprocess/expected_56.npz")
    preprocess = Preprocess(mode, 56)
    for path in sorted((golden / "preprocess" / "images").iterdir()):
        pixels_CHW = preprocess(open_image(path.read_bytes()))
        np.testing.assert_allclose(pixels_CHW, expected[f"{path.stem}__{mode}"], atol=1e-6, rtol=0)


def test_a_row_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    images = [picture(20 + i, 50 - i) for i in range(7)]
    texts = ["a red bicycle", "a", "一只熊猫", "two birds on a wire " * 3]
    for rows, alone in (
        (encoder.encode_images(images), [encoder.encode_images([image]) for image in images]),
        (encoder.encode_texts(texts), [encoder.encode_texts([text]) for text in texts]),
    ):
        np.testing.assert_allclose(rows, np.concatenate(alone), atol=2e-5)
        assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_long_texts_are_cut_and_it_is_said(encoder: Encoder) -> None:
    assert len(encoder.prepare_text("birds " * 200)) == encoder.max_text_tokens
    assert encoder.text_truncated("birds " * 200) and not encoder.text_truncated("birds")


def test_all_orientations_of_a_picture_are_one_picture(folder: Path, encoder: Encoder) -> None:
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # EXIF orientation: how it was stored

    def photo(orientation: int) -> bytes:
        exif, file = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        stored = turned[orientation]
        image = picture() if stored is None else picture().transpose(Image.Transpose(stored))
        image.save(file, "PNG", exif=exif)
        return file.getvalue()

    photos = [photo(orientation) for orientation in turned]
    cosines = encoder.encode_images(photos) @ encoder.encode_images([picture()])[0]
    assert cosines.min() > 0.999
    as_stored = load(folder, device="cpu", preprocess="retrieval").encode_images(photos)
    assert np.abs(as_stored - as_stored[0]).max() > 1e-3  # the original does not look at the orientation


@pytest.mark.parametrize("preprocess", ["service", "retrieval", "classification"])
def test_every_mode_and_shape_gives_a_unit_vector(folder: Path, preprocess: str) -> None:
    modes = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "I;16"]
    sizes = [(1, 1), (1, 60), (60, 1), (2, 3), (57, 43)]
    images = [Image.new(mode, size, 1) for mode in modes for size in sizes]
    vectors = load(folder, device="cpu", preprocess=preprocess).encode_images(images)
    assert len(vectors) == 65
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_fingerprint_names_what_changes_vectors(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    known = encoder.fingerprint
    assert len(known) == 64 and int(known, 16)
    half = load(folder, device="cpu", dtype="bfloat16")
    assert half.fingerprint == known  # only rounding differs
    assert half.logit_scale == encoder.logit_scale == pytest.approx(19.28, abs=0.01)
    others = [
        load(folder, device="cpu", head="G"),
        load(folder, device="cpu", preprocess="retrieval"),
    ]
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert load(tmp_path, device="cpu").fingerprint == known
    train_tokenizer(tmp_path / "tokenizer.model", 285)
    others.append(load(tmp_path, device="cpu"))
    assert len({known, *(other.fingerprint for other in others)}) == 4


def test_a_pth_file_finds_tokenizer_and_sizes_beside_it(
    folder: Path, golden: Path, encoder: Encoder, tmp_path: Path
) -> None:
    for file in (golden / "pth" / "internvl_c_tiny.pth", folder / "tokenizer.model"):
        shutil.copy(file, tmp_path)
    with pytest.raises(BadCheckpoint, match="no published text tower is 48 wide"):
        load(tmp_path / "internvl_c_tiny.pth", device="cpu")
    shutil.copy(folder / "config.json", tmp_path)
    vectors = load(tmp_path / "internvl_c_tiny.pth", device="cpu").encode_texts(["a red bicycle"])
    np.testing.assert_allclose(vectors, encoder.encode_texts(["a red bicycle"]), atol=2e-5)


@pytest.mark.parametrize(
    "name",
    ["", "nothing", "./missing", "/missing/folder", "a/b/c", "openclip:ViT-B-32/x", "hf:./missing", "hf:"],
)
def test_unknown_names_are_answered_with_the_accepted_ones(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"(?s)expected one of.*mini.*folder.*hf:.*open_clip:MODEL"):
        load(name)


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for options, message in (
        ({"head": "c"}, "head is 'c'"),
        ({"preprocess": "squash"}, "mode of Preprocess"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"dtype": "int8"}, "dtype must be"),
    ):
        with pytest.raises(InvalidInput, match=message):
            load(folder, **options)
    monkeypatch.setattr("polylens.clip.load.MINI", tmp_path / "mini")
    with pytest.raises(PolylensError, match="lacks the weights of mini"):
        load("mini")
    shutil.copytree(folder, tmp_path / "mini")
    assert load("mini").name == "mini"
    (tmp_path / "mini" / "tokenizer.model").unlink()
    with pytest.raises(InvalidInput, match="tokenizer.model"):
        load("mini")
    train_tokenizer(tmp_path / "mini" / "tokenizer.model", 290)
    (tmp_path / "mini" / "special_tokens_map.json").write_text('{"pad_token": "[PAD]"}')
    assert load("mini", device="cpu").dim == 32
    (tmp_path / "mini" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(BadCheckpoint, match="not a readable safetensors"):
        load("mini")


def test_a_tokenizer_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    lines = [chr(code) for code in range(0x4E00, 0x4E00 + 400)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=700,
        model_type="char",
        character_coverage=1.0,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(InvalidInput, match="the model only knows 512"):
        load(tmp_path, device="cpu")
