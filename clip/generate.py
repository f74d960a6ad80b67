"""Decoding text from QLLaMA one token at a time over a key-value cache, and greedy search.

Both searches (the other is in beam_search.py) follow transformers 4.37, for which InternVL was published, to
the token: sequences begin with a BOS that the model never reads, and a finished row is filled with padding.
Shapes: B batch, R rows (B, or B times beams), L positions of queries and prompt, S sequence, V vocabulary,
D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from .kv_cache import KVCache
from .qllama import QLLaMA


@dataclass(frozen=True)
class Rules:
    """What a search obeys; `min_new` and `max_new` count tokens after the leading BOS, EOS included."""

    bos: int
    eos: int
    pad: int
    min_new: int
    max_new: int

    def __post_init__(self) -> None:
        if not 0 <= self.min_new <= self.max_new or self.max_new < 1:
            raise InvalidInput(
                f"generation needs 0 <= min_new_tokens <= max_new_tokens and max_new_tokens >= 1, "
                f"got {self.min_new} and {self.max_new}"
            )

    def hide_early_eos(self, scores_RV: Tensor, new: int) -> Tensor:
        """The scores for the `new`-th new token, EOS impossible while the text is too short."""
        if new > self.min_new:
            return scores_RV
        return scores_RV.index_fill(1, torch.tensor([self.eos], device=scores_RV.device), -torch.inf)


class Decoder:
    """`logits_RV` of the next token (float32), and the state to go on from there."""

    def __init__(
        self,
        qllama: QLLaMA,
        lm_head: nn.Linear,
        x_BLD: Tensor,
        *,
        mask: Tensor,
        image_BNV: Tensor,
    ) -> None:
        self.qllama, self.lm_head = qllama, lm_head
        self.cache = KVCache(len(qllama.layers))
        # What the last position may look at is all that is no padding.
        self.valid_RL = mask[:, 0, -1]
        # Positions count valid tokens only, so that left padding shifts nothing; padding itself gets 1.
        positions_BL = (self.valid_RL.long().cumsum(dim=1) - 1).masked_fill(~self.valid_RL, 1)
        self.logits_RV = self._read(x_BLD, mask, positions_BL, image_BNV)

    def step(self, tokens_R: Tensor) -> None:
        """Read one more token per row."""
        positions_R1 = self.valid_RL.sum(dim=1, keepdim=True)
        self.valid_RL = torch.cat((self.valid_RL, self.valid_RL.new_ones(len(tokens_R), 1)), dim=1)
        x_R1D = self.qllama.embed(tokens_R[:, None])
        self.logits_RV = self._read(x_R1D, self.valid_RL[:, None, None, :], positions_R1, None)

    def select(self, rows: Tensor) -> None:
        """Go on with the given rows, in that order and as often as each occurs."""
        self.cache.select(rows)
        self.valid_RL = self.valid_RL[rows.to(self.valid_RL.device)]
        self.logits_RV = self.logits_RV[rows.to(self.logits_RV.device)]

    def _read(self, x_RLD: Tensor, mask: Tensor, positions_RL: Tensor, image_BNV: Tensor | None) -> Tensor:
        states_RLD = self.qllama(
            x_RLD, mask=mask, positions_BL=positions_RL, image_BNV=image_BNV, cache=self.cache
        )
        logits_RV: Tensor = self.lm_head(states_RLD[:, -1].to(self.lm_head.weight.device))
        return logits_RV.float()


def greedy_search(decoder: Decoder, rules: Rules) -> tuple[Tensor, Tensor]:
    """The likeliest token at every step: ids (B, S) int64, and each step's logits (B, S - 1, V) float32."""
    tokens_B = torch.full((len(decoder.logits_RV),), rules.bos, device=decoder.logits_RV.device)
    running_B = torch.ones_like(tokens_B, dtype=torch.bool)
    sequence, logits = [tokens_B], []
    for new in range(1, rules.max_new + 1):
        if new > 1:
            decoder.step(tokens_B)
        logits.append(decoder.logits_RV)
        tokens_B = rules.hide_early_eos(decoder.logits_RV, new).argmax(dim=-1)
        tokens_B = tokens_B.masked_fill(~running_B, rules.pad)
        sequence.append(tokens_B)
        running_B = running_B & (tokens_B != rules.eos)
        if not running_B.any():
            break
    return torch.stack(sequence, dim=1), torch.stack(logits, dim=1)
