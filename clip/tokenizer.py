"""LLaMA sentencepiece ids, exactly as InternVL's own (slow, `legacy`) LlamaTokenizer gives them.

Legend: B = texts in the batch, L = token positions.

What "slow and legacy" means for the ids: special tokens written out in a text (`<s>`, `</s>`, `<unk>`,
`[PAD]`) become their ids, and every stretch between them is encoded on its own, so each one gets
sentencepiece's leading space again.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import Tensor

from ..errors import InvalidInput

PAD_ID = 0  # InternVL masks with `ids > 0`; the same id is <unk>, so a written-out <unk> is masked too
PREFIX = "summarize:"  # InternVL's text tower only ever saw texts with this prefix
MAX_LENGTH = 80
DEFAULT_SPECIAL_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how sentencepiece writes a space inside a piece


class Tokenizer:
    """Texts to token ids and back: a sentencepiece model, and the special tokens a text may write out."""

    def __init__(self, model_bytes: bytes, special_tokens: Sequence[str] = ("<unk>", "<s>", "</s>")) -> None:
        self.model_bytes = model_bytes
        self.special_tokens = tuple(dict.fromkeys(special_tokens))
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
        except RuntimeError as error:
            raise InvalidInput(f"expected a sentencepiece model, got {len(model_bytes)} bytes") from error
        self.bos_id: int = self._model.bos_id()
        self.eos_id: int = self._model.eos_id()
        self.unk_id: int = self._model.unk_id()
        if min(self.bos_id, self.eos_id) < 0:
            raise InvalidInput("expected a sentencepiece model with <s> and </s>, got one without")
        self._special_ids = self._number(self.special_tokens)
        # Longest first, so that of two tokens starting at one place the longer wins, as in a trie.
        longest_first = sorted(map(re.escape, self.special_tokens), key=len, reverse=True)
        self._special_pattern = re.compile(f"({'|'.join(longest_first)})" if longest_first else r"(?!)")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Tokenizer":
        """The tokenizer of a folder: `tokenizer.model` and, if present, the JSON files of special tokens."""
        path = Path(folder) / "tokenizer.model"
        try:
            model_bytes = path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"expected a sentencepiece model at {path}: {error.strerror}") from error
        # The same precedence as the original: the map overrides the config, which overrides LLaMA's defaults.
        named = DEFAULT_SPECIAL_TOKENS | _special_tokens(path.with_name("tokenizer_config.json"))
        named |= _special_tokens(path.with_name("special_tokens_map.json"))
        return cls(model_bytes, list(named.values()))

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return max(self._model.vocab_size(), *(i + 1 for i in self._special_ids.values()))

    def __call__(
        self,
        texts: Sequence[str],
        *,
        prefix: str = PREFIX,
        max_length: int = MAX_LENGTH,
        pad_to_max: bool = True,
    ) -> Tensor:
        """ids_BL, int64, right padded with 0 to `max_length`, or with `pad_to_max=False` to the longest."""
        rows = [self.encode(text, prefix=prefix, max_length=max_length) for text in texts]
        length = max_length if pad_to_max else max(map(len, rows), default=0)
        ids_BL = torch.full((len(rows), length), PAD_ID, dtype=torch.int64)
        for ids_L, row in zip(ids_BL, rows, strict=True):
            ids_L[: len(row)] = torch.tensor(row)
        return ids_BL

    def encode(self, text: str, *, prefix: str = PREFIX, max_length: int = MAX_LENGTH) -> list[int]:
        """At most `max_length` ids: BOS, prefix and text, EOS; a longer text loses its end, never its EOS."""
        if max_length < 2:
            raise InvalidInput(f"max_length is {max_length}, expected at least 2: BOS and EOS always stand")
        return [self.bos_id, *self._ids(prefix + text)[: max_length - 2], self.eos_id]

    def truncated(
        self, texts: Sequence[str], *, prefix: str = PREFIX, max_length: int = MAX_LENGTH
    ) -> list[bool]:
        """Whether each text has more than `max_length` ids, so that calling the tokenizer drops its end."""
        return [len(self._ids(prefix + text)) + 2 > max_length for text in texts]

    def encode_prompts(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """ids_BL and mask_BL (1 = token, 0 = padding), int64, for generation: left padded, no EOS."""
        rows = [[self.bos_id, *self._ids(prompt)] for prompt in prompts]
        length = max(map(len, rows), default=0)
        ids_BL = torch.full((len(rows), length), PAD_ID, dtype=torch.int64)
        mask_BL = torch.zeros_like(ids_BL)
        for i, row in enumerate(rows):
            ids_BL[i, length - len(row) :] = torch.tensor(row)
            mask_BL[i, length - len(row) :] = 1
        return ids_BL, mask_BL

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of one row of ids, without BOS, EOS, padding and <unk>; [PAD] is written out."""
        skipped = {self.bos_id, self.eos_id, self.unk_id, PAD_ID}
        written_out = {i: token for token, i in self._special_ids.items() if i not in skipped}
        parts: list[str] = []
        pieces: list[str] = []
        for i in map(int, ids):
            if i in written_out:
                parts += [self._join(pieces), written_out[i]]
                pieces = []
            elif 0 <= i < self._model.vocab_size() and i not in skipped:
                pieces.append(self._model.id_to_piece(i))
        return " ".join(part for part in [*parts, self._join(pieces)] if part)

    def _number(self, special_tokens: Sequence[str]) -> dict[str, int]:
        """The id of each special token: the model's own, or the next free one where the model has none."""
        ids: dict[str, int] = {}
        next_free = self._model.vocab_size()
        for token in special_tokens:
            ids[token] = self._model.piece_to_id(token)
            if ids[token] == self.unk_id and token != self._model.id_to_piece(self.unk_id):
                ids[token] = next_free
                next_free += 1
        return ids

    def _ids(self, text: str) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput("expected text, got half a surrogate pair, which no encoding has") from error
        ids: list[int] = []
        for stretch in self._special_pattern.split(text):
            special = self._special_ids.get(stretch)
            ids += self._model.encode(stretch) if special is None else [special]
        return ids

    def _join(self, pieces: list[str]) -> str:
        if not pieces:
            return ""
        # Legacy: the first piece loses its space here; if that was all of it, decode drops the next one too.
        text: str = self._model.decode([pieces[0].removeprefix(SPACE), *pieces[1:]])
        return text


def _special_tokens(path: Path) -> dict[str, str]:
    """Name to written-out form of the special tokens a tokenizer JSON file sets; empty without the file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInput(f"expected a JSON object in {path}: {error}") from error
    tokens: dict[str, str] = {}
    for name in (*DEFAULT_SPECIAL_TOKENS, "pad_token"):
        value = content.get(name)
        if isinstance(value, dict):  # an AddedToken written as an object
            value = value.get("content")
        if value:
            tokens[name] = str(value)
    return tokens
