"""Captions of InternVL-G beside the vectors, the same however the job went."""

import io
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import polylens
import pytest
import sentencepiece
from polylens.clip.embedding.settings import Settings
from polylens.clip.reader import PROMPT, reader_of
from polylens.errors import InvalidInput

from .toy_job import Job, digests, picture

Make = Callable[..., Job]
CHECKPOINT = Path(__file__).parents[2] / "golden" / "internvl_tiny" / "checkpoint"


@pytest.fixture(scope="module")
def tiny_g(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained InternVL-G of 512 tokens, with a tokenizer that has no more."""
    folder, tokenizer = tmp_path_factory.mktemp("tiny"), io.BytesIO()
    copytree(CHECKPOINT, folder, dirs_exist_ok=True)
    words = iter(["English caption: a red apple", "two birds", "两只猫"] * 9)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=words,
        model_writer=tokenizer,
        vocab_size=290,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(tokenizer.getvalue())
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(5):
        (root / f"{i}.png").write_bytes(picture(i))
    (root / "bad.png").write_bytes(b"x")
    return root


def test_captions_are_those_of_the_reader(job: Make, folder: Path, tiny_g: Path) -> None:
    one = job(folder, captions=True, batch_size=3)
    one.encoder = polylens.load(tiny_g, head="G")
    one.run()
    reader = reader_of(one.encoder)
    assert reader is not None
    pixels = [one.encoder.prepare_image(picture(i)) for i in range(5)]
    want = [
        caption
        for group in (pixels[:3], pixels[3:])
        for caption in reader.caption(group, [PROMPT] * len(group), beams=5, least=8, most=30)
    ]
    assert [row["generated_caption"] for row in one.rows()] == want
    two = job(folder, captions=True, batch_size=3)
    two.encoder = one.encoder
    two.run(workers=1)
    assert digests(one.out) == digests(two.out)


def test_other_models_make_none(job: Make, folder: Path) -> None:
    with pytest.raises(InvalidInput, match="takes an InternVL-G"):
        job(folder, captions=True).run()
    with pytest.raises(InvalidInput, match="captions are made of pictures"):
        Settings(take="texts", captions=True)
