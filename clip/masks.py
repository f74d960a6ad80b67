"""Who may look at whom in QLLaMA: boolean attention masks, true where a position may look.

Shapes: B batch, L positions, P prompt positions, Q queries. Id 0 is padding and, as in the original, <unk>.
"""

import torch
from torch import Tensor


def causal_mask(length: int, device: torch.device) -> Tensor:
    """Each position sees itself and what is before it, (L, L) bool."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def text_mask(ids_BL: Tensor) -> Tensor:
    """A text alone: causal, padding hidden, (B, 1, L, L) bool.

    A position with nothing to see sees itself. That matters for a text of only padding: all its positions are
    equal, so seeing itself gives what the original's average over all of them gives.
    """
    mask = causal_mask(ids_BL.shape[1], ids_BL.device) & (ids_BL > 0)[:, None, None, :]
    itself = torch.eye(ids_BL.shape[1], dtype=torch.bool, device=ids_BL.device)
    return mask | (itself & ~mask.any(dim=-1, keepdim=True))


def matching_mask(ids_BL: Tensor, num_queries: int) -> Tensor:
    """Queries and text together, every position sees all but padding, (B, 1, 1, Q+L) bool."""
    queries_BQ = ids_BL.new_ones(len(ids_BL), num_queries)
    return (torch.cat((queries_BQ, ids_BL), dim=1) > 0)[:, None, None, :]


def prompt_mask(mask_BP: Tensor, num_queries: int) -> Tensor:
    """Queries, then a prompt: queries see each other both ways, the rest is causal, (B, 1, Q+P, Q+P)."""
    valid_BL = torch.cat((mask_BP.new_ones(len(mask_BP), num_queries), mask_BP), dim=1) > 0
    order = causal_mask(valid_BL.shape[1], mask_BP.device)
    order[:num_queries, :num_queries] = True
    return order & valid_BL[:, None, None, :]
