"""Beam search with the semantics of transformers 4.37 (early_stopping False), see generate.py.

Shapes: B batch, K beams, R rows (B * K), S sequence, V vocabulary.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .generate import Decoder, Rules

# Log-probability of the beams that do not exist yet: at the first step all K beams of an item are the same.
NO_BEAM = -1e9


@dataclass(frozen=True)
class Candidate:
    """One way to go on: a token appended to a beam, and the sum of log-probabilities with it."""

    score: float
    token: int
    beam: int


@dataclass
class Item:
    """The finished hypotheses of one item, at most `num_beams`: (final score, ids) in order of arrival."""

    num_beams: int
    length_penalty: float
    done: bool = False
    found: list[tuple[float, Tensor]] = field(default_factory=list)

    def finish(self, score: float, ids_S: Tensor, length: int) -> None:
        """Keep a hypothesis of `length` new tokens if it is among the best."""
        score /= length**self.length_penalty
        if len(self.found) == self.num_beams:
            worst = min(range(self.num_beams), key=lambda index: self.found[index][0])
            if score <= self.found[worst][0]:
                return
            del self.found[worst]
        self.found.append((score, ids_S))

    def advance(self, candidates: list[Candidate], ids_KS: Tensor, new: int, rules: Rules) -> list[Candidate]:
        """The beams to go on with, best first, out of twice as many candidates; those that end finish."""
        if self.done:
            return [Candidate(0.0, rules.pad, beam) for beam in range(self.num_beams)]
        for rank, candidate in enumerate(candidates):
            # An end that is not itself among the best K would never have been a beam.
            if candidate.token == rules.eos and rank < self.num_beams:
                self.finish(candidate.score, ids_KS[candidate.beam], new)
        self.done = self._settled(candidates[0].score / new**self.length_penalty)
        return [candidate for candidate in candidates if candidate.token != rules.eos][: self.num_beams]

    def best(self) -> tuple[float, Tensor]:
        """Score and ids of the best hypothesis, the latest of equals."""
        return max(reversed(self.found), key=lambda hypothesis: hypothesis[0])

    def _settled(self, attainable: float) -> bool:
        """Whether all hypotheses found are at least as good as the best that is still running."""
        return len(self.found) == self.num_beams and min(score for score, _ in self.found) >= attainable


def beam_search(
    decoder: Decoder, rules: Rules, num_beams: int, length_penalty: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The best of `num_beams` hypotheses per item: ids (B, S) int64 and scores (B,) float32.

    A score is the sum of log-probabilities divided by (new tokens, EOS included) ** length_penalty.
    """
    batch, device = len(decoder.logits_RV), decoder.logits_RV.device
    items = [Item(num_beams, length_penalty) for _ in range(batch)]
    decoder.select(torch.arange(batch, device=device).repeat_interleave(num_beams))
    ids_BKS = torch.full((batch, num_beams, 1), rules.bos, device=device)
    scores_BK = torch.full((batch, num_beams), NO_BEAM, device=device)
    scores_BK[:, 0] = 0
    first_row_B1 = torch.arange(batch, device=device)[:, None] * num_beams
    for new in range(1, rules.max_new + 1):
        logp_RV = rules.hide_early_eos(decoder.logits_RV.log_softmax(dim=-1), new)
        beams = [
            item.advance(candidates, ids_KS, new, rules)
            for item, candidates, ids_KS in zip(items, propose(logp_RV, scores_BK), ids_BKS, strict=True)
        ]
        scores_BK = torch.tensor([[beam.score for beam in row] for row in beams], device=device)
        tokens_BK = torch.tensor([[beam.token for beam in row] for row in beams], device=device)
        source_BK = torch.tensor([[beam.beam for beam in row] for row in beams], device=device) + first_row_B1
        ids_BKS = torch.cat((ids_BKS.flatten(0, 1)[source_BK], tokens_BK[..., None]), dim=-1)
        if new == rules.max_new or all(item.done for item in items):
            break
        decoder.select(source_BK.flatten())
        decoder.step(tokens_BK.flatten())
    for item, ids_KS, scores in zip(items, ids_BKS, scores_BK.tolist(), strict=True):
        for ids_S, score in zip(ids_KS, scores if not item.done else [], strict=not item.done):
            item.finish(score, ids_S, rules.max_new)
    return collect([item.best() for item in items], rules, device)


def propose(logp_RV: Tensor, scores_BK: Tensor) -> list[list[Candidate]]:
    """Per item the best 2 K continuations of its beams: even if every beam ends, as many go on."""
    batch, num_beams = scores_BK.shape
    vocabulary = logp_RV.shape[1]
    total_BN = (logp_RV + scores_BK.view(-1, 1)).view(batch, num_beams * vocabulary)
    best = total_BN.topk(2 * num_beams, dim=1)
    return [
        [Candidate(score, index % vocabulary, index // vocabulary) for score, index in zip(*row, strict=True)]
        for row in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def collect(found: list[tuple[float, Tensor]], rules: Rules, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (B, S), each row closed with EOS where there is room and padded, and scores (B,) float32."""
    longest = max(len(ids_S) for _, ids_S in found)
    length = min(longest + 1, rules.max_new + 1)
    ids_BS = torch.full((len(found), length), rules.pad, device=device)
    for row, (_, ids_S) in zip(ids_BS, found, strict=True):
        row[: len(ids_S)] = ids_S
        if len(ids_S) < length:
            row[len(ids_S)] = rules.eos
    return ids_BS, torch.tensor([score for score, _ in found], device=device)
