"""Token ids: the original's where its model is at hand, the rules themselves on a model trained here."""

import copy
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from polylens.clip import Tokenizer
from polylens.errors import InvalidInput

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizer"
LINES = ["a red bicycle", "two birds on a wire", "summarize:the old boat", "ein Hund", "一只熊猫"]


@pytest.fixture(scope="module")
def model_bytes() -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=model,
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def tokenizer(model_bytes: bytes) -> Tokenizer:
    return Tokenizer(model_bytes)


@pytest.fixture(scope="module")
def original() -> Tokenizer:
    if "POLYLENS_PARITY" not in os.environ:
        pytest.skip("POLYLENS_PARITY does not name a folder with tokenizer/tokenizer.model (not ours)")
    return Tokenizer.from_pretrained(Path(os.environ["POLYLENS_PARITY"]) / "tokenizer")


def test_ids_are_the_original_ones(original: Tokenizer) -> None:
    texts = json.loads((GOLDEN / "texts.json").read_text(encoding="utf-8"))
    expected = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
    with np.load(GOLDEN / "expected_ids.npz") as ids:
        np.testing.assert_array_equal(original(texts["texts"]).numpy(), ids["ids_max_length_80"])
        dynamic = original(texts["dynamic_batch"], pad_to_max=False)
        np.testing.assert_array_equal(dynamic.numpy(), ids["ids_dynamic_batch"])
        decoded = [original.decode(torch.from_numpy(row)) for row in ids["ids_max_length_80"]]
    assert original(texts["texts"], prefix="").tolist() == expected["ids_without_prefix"]
    assert decoded == expected["decoded_skip_special"]
    assert original.vocab_size == expected["len_tokenizer"]
    assert original.encode("[PAD]", prefix="")[1] == expected["PAD_literal_id"]


def test_prompts_are_the_original_ones(original: Tokenizer) -> None:
    texts = json.loads((GOLDEN / "texts.json").read_text(encoding="utf-8"))
    expected = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
    ids_BL, mask_BL = original.encode_prompts(texts["generation_prompts"])
    unpadded = [row[mask > 0].tolist() for row, mask in zip(ids_BL, mask_BL, strict=True)]
    assert unpadded == expected["generation_prompt_ids_no_eos"]


def test_a_row_is_bos_text_eos_padding(tokenizer: Tokenizer) -> None:
    ids_BL = tokenizer(["a red bicycle", ""])
    assert ids_BL.shape == (2, 80) and ids_BL.dtype == torch.int64
    for row in ids_BL:
        end = row.tolist().index(tokenizer.eos_id)
        assert row[0] == tokenizer.bos_id and not row[end + 1 :].any()
    assert tokenizer([""], prefix="", pad_to_max=False).tolist() == [[1, 2]]


def test_padding_reaches_only_the_longest_when_asked(tokenizer: Tokenizer) -> None:
    short, long = tokenizer(["a", "two birds on a wire"], pad_to_max=False)
    assert long[-1] == tokenizer.eos_id and short[-1] == 0
    assert tokenizer([], pad_to_max=False).shape == (0, 0) and tokenizer([]).shape == (0, 80)


def test_a_long_text_loses_its_end_and_it_is_said(tokenizer: Tokenizer) -> None:
    long = "two birds on a wire " * 40
    ids = tokenizer.encode(long)
    assert len(ids) == 80 and ids[-1] == tokenizer.eos_id
    assert ids[:-1] == tokenizer.encode(long, max_length=1000)[:79]
    assert tokenizer.truncated([long, "a"]) == [True, False]


def test_exactly_the_maximum_is_not_truncated(tokenizer: Tokenizer) -> None:
    text = "two birds"
    length = len(tokenizer.encode(text))
    assert not any(tokenizer.truncated([text], max_length=length))
    assert all(tokenizer.truncated([text], max_length=length - 1))


def test_special_tokens_in_a_text_become_their_ids(tokenizer: Tokenizer) -> None:
    with_special = tokenizer.encode("a<s>red</s>", prefix="")
    pieces = [tokenizer.encode(text, prefix="")[1:-1] for text in ("a", "red")]
    assert with_special == [1, *pieces[0], 1, *pieces[1], 2, 2]


def test_a_special_token_the_model_lacks_gets_the_next_id(model_bytes: bytes) -> None:
    tokenizer = Tokenizer(model_bytes, ["<unk>", "<s>", "</s>", "[PAD]"])
    assert tokenizer.vocab_size == Tokenizer(model_bytes).vocab_size + 1
    assert tokenizer.encode("[PAD]", prefix="") == [1, tokenizer.vocab_size - 1, 2]
    assert tokenizer.decode(tokenizer.encode("a [PAD] boat", prefix="")) == "a  [PAD] boat"


def test_names_of_special_tokens_come_from_the_folder(model_bytes: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(model_bytes)
    assert Tokenizer.from_pretrained(tmp_path).special_tokens == ("<unk>", "<s>", "</s>")
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": {"content": "[A]"}, "eos_token": "</s>"}')
    assert Tokenizer.from_pretrained(tmp_path).special_tokens[-1] == "[A]"
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": "[B]"}')
    assert Tokenizer.from_pretrained(tmp_path).special_tokens[-1] == "[B]"


@pytest.mark.parametrize("text", ["a red bicycle", "一只熊猫", "🐼 \x00\x07", "inner   spaces"])
def test_decode_gives_the_text_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer([text])[0]) == f"summarize:{text}"


def test_prompts_are_left_padded_without_eos(tokenizer: Tokenizer) -> None:
    ids_BL, mask_BL = tokenizer.encode_prompts(["a", "two birds on a wire"])
    assert not (ids_BL == tokenizer.eos_id).any()
    assert mask_BL[0, 0] == 0 and mask_BL[0, -1] == 1 and mask_BL[1].all()
    assert ids_BL[0][mask_BL[0] > 0][0] == tokenizer.bos_id and ids_BL[0, 0] == 0


def test_a_copy_in_another_process_gives_the_same_ids(tokenizer: Tokenizer) -> None:
    twin = copy.deepcopy(tokenizer)  # by the state that is sent to worker processes
    assert twin.encode("a red</s> bicycle") == tokenizer.encode("a red</s> bicycle")


def test_bad_input_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        tokenizer(["\ud800"])
    with pytest.raises(InvalidInput, match="max_length is 1"):
        tokenizer.encode("a", max_length=1)
    with pytest.raises(InvalidInput, match="sentencepiece model, got 7 bytes"):
        Tokenizer(b"nothing")
    with pytest.raises(InvalidInput, match="No such file"):
        Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"")
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(InvalidInput, match="JSON object in"):
        Tokenizer.from_pretrained(tmp_path)
