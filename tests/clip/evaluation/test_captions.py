"""Captions: pycocoevalcap's own figures, what is left out without Java, and a tiny InternVL-G at work."""

import functools
import importlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import polylens
import pytest
import sentencepiece
from polylens.cli import app
from polylens.clip.captioning import Wording, caption_images
from polylens.clip.evaluation.caption_metrics import caption_metrics, plainly_tokenized, ptb_tokenized
from polylens.errors import InvalidInput
from typer.testing import CliRunner

from .command import result_of
from .layouts import Layouts

CAPTIONS = ["A man rides a horse, slowly.", "Two dogs don't run", "the T-shirt is red"]
REFERENCES = [
    ["a man riding a horse.", "A man's horse on a beach!"],
    ["two dogs run in the snow", "Dogs don't like it: snow."],
    ["a red t-shirt", "The shirt is blue and red"],
]
JAVA = shutil.which("java") is not None


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, golden: Path) -> polylens.Encoder:
    """The golden tiny InternVL-G with a tokenizer of few words."""
    folder = tmp_path_factory.mktemp("tiny")
    shutil.copytree(golden / "internvl_tiny" / "checkpoint", folder, dirs_exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["English caption: a red bicycle", "two birds on a wire"] * 4),
        model_writer=model,
        vocab_size=290,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return polylens.load(folder, head="G", device="cpu")


def test_figures_are_pycocoevalcaps() -> None:
    bleu: Any = pytest.importorskip("pycocoevalcap.bleu.bleu", reason="pycocoevalcap is an extra")
    cider: Any = pytest.importorskip("pycocoevalcap.cider.cider")
    rouge: Any = pytest.importorskip("pycocoevalcap.rouge.rouge")
    made = plainly_tokenized({row: [text] for row, text in enumerate(CAPTIONS)})
    given = plainly_tokenized(dict(enumerate(REFERENCES)))
    found, reasons = caption_metrics(CAPTIONS, REFERENCES, java=False)
    scores = bleu.Bleu(4).compute_score(given, made, verbose=0)[0]
    assert [found[f"Bleu_{n}"] for n in (1, 2, 3, 4)] == pytest.approx(scores, abs=1e-9)
    assert found["CIDEr"] == pytest.approx(cider.Cider().compute_score(given, made)[0], abs=1e-9)
    assert found["ROUGE_L"] == pytest.approx(rouge.Rouge().compute_score(given, made)[0], abs=1e-9)
    assert reasons.keys() == {"tokenizer", "METEOR", "SPICE"} and "Java" in reasons["METEOR"]
    assert 0 < found["Bleu_4"] < found["Bleu_1"] < 1


@pytest.mark.skipif(not JAVA, reason="the original tokenizer is a Java program")
def test_the_plain_tokenizer_is_the_original_one_on_plain_captions() -> None:
    pytest.importorskip("pycocoevalcap", reason="pycocoevalcap is an extra")
    captions = {row: [*texts, CAPTIONS[row]] for row, texts in enumerate(REFERENCES)}
    assert plainly_tokenized(captions) == ptb_tokenized(captions)


@pytest.mark.skipif(not JAVA, reason="METEOR is a Java program")
def test_with_java_there_is_meteor_and_a_word_about_spice() -> None:
    pytest.importorskip("pycocoevalcap", reason="pycocoevalcap is an extra")
    found, reasons = caption_metrics(CAPTIONS, REFERENCES)
    assert 0.05 < found["METEOR"] < 0.9
    assert "SPICE" in found or "models are not here" in reasons["SPICE"]


def test_sentences_do_not_depend_on_their_batch(encoder: polylens.Encoder, layouts: Any) -> None:
    pictures = [layouts.picture(what, 1) for what in layouts.classes[:3]]
    wording = Wording(beams=2, least=2, most=6)
    alone = [next(caption_images(encoder, [picture], wording)) for picture in pictures]
    mixed = list(caption_images(encoder, [pictures[0], b"no picture", *pictures[1:]], wording))
    assert [mixed[0], *mixed[2:]] == alone and all(isinstance(text, str) and text for text in alone)
    assert isinstance(mixed[1], InvalidInput)
    with pytest.raises(InvalidInput, match="mini writes no sentences"):
        list(caption_images(polylens.load("mini", device="cpu"), pictures))


@pytest.mark.parametrize(
    ("asked", "place", "file"),
    [
        ("nocaps --split val", "validation", "nocaps_val_4500_captions.json"),
        ("mscoco_captions", "val2014", "coco_test_karpathy.json"),
        ("flickr30k", "", "flickr30k_test_karpathy.txt"),
    ],
)
def test_data_sets_are_captioned_and_compared(
    encoder: polylens.Encoder,
    layouts: Layouts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    place: str,
    file: str,
) -> None:
    """The command's figures are those of the sentences that the model writes of each picture alone.

    The model is random: its own words are put among people's, of the last two pictures in each other's place.
    """
    pytest.importorskip("pycocoevalcap", reason="pycocoevalcap is an extra")
    monkeypatch.setattr(shutil, "which", lambda _: None)  # no Java: it takes seconds
    data = tmp_path / "data"
    data.mkdir()
    written = layouts.coco(data, file, place) if place else layouts.flickr(data, file)
    said = [str(next(caption_images(encoder, [path], Wording(beams=1)))) for path in list(written)[:4]]
    words = {
        what: " ".join(re.findall(r"\w+", said[row]))
        for what, row in zip(layouts.classes, (0, 1, 3, 2), strict=False)
    }

    def worded(text: str) -> str:
        return functools.reduce(lambda text, what: text.replace(what, words[what]), words, text)

    (data / file).write_text(worded((data / file).read_text("utf-8")), "utf-8")
    command = ("captioning", "--dataset", *asked.split(), "--data", data, "--model", encoder.name)
    content = result_of(tmp_path / "out", *command, "--beams", 1, "--limit", 4)
    made = plainly_tokenized({row: [text] for row, text in enumerate(said)})
    references = [[worded(text) for text in own] for own in written.values()]
    given = plainly_tokenized(dict(enumerate(references[:4])))
    scorers = ("bleu.bleu", "Bleu"), ("rouge.rouge", "Rouge"), ("cider.cider", "Cider")
    ((bleus, _), (rouge, _), (cider, _)) = (
        getattr(importlib.import_module(f"pycocoevalcap.{module}"), name)().compute_score(given, made)
        for module, name in scorers
    )
    expected = {f"Bleu_{n}": score for n, score in enumerate(bleus, 1)} | {"ROUGE_L": rouge, "CIDEr": cider}
    assert content["task"] == "captioning" and content["metrics"] == pytest.approx(expected, abs=1e-9)
    assert 0.1 < expected["Bleu_1"] < 0.9 and 0.1 < rouge < 0.9 and cider > 0.1


def test_the_command_writes_sentences_here(encoder: polylens.Encoder, layouts: Any, tmp_path: Path) -> None:
    layouts.save(tmp_path / "a.png", "red circle", 1)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    command = ["caption", str(tmp_path), "--model", str(encoder.name), "--beams", "1", "--json"]
    done = CliRunner().invoke(app, command, env={"POLYLENS_SERVER": ""})
    (said,) = json.loads(done.stdout).items()
    assert said[0] == "a.png" and said[1]
    assert isinstance(done.exception, InvalidInput) and "b.jpg" in str(done.exception)
