"""The keys and values a decoder has already computed.

Shapes: B batch, H heads, L new positions, S all positions, K channels per head.
"""

import torch
from torch import Tensor


class LayerCache:
    """Keys and values of one layer, empty at first."""

    def __init__(self) -> None:
        self.k_BHSK: Tensor | None = None
        self.v_BHSK: Tensor | None = None

    def extend(self, k_BHLK: Tensor, v_BHLK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and all values, (B, H, S, K) each, the given ones last."""
        if self.k_BHSK is not None and self.v_BHSK is not None:
            k_BHLK = torch.cat((self.k_BHSK, k_BHLK), dim=2)
            v_BHLK = torch.cat((self.v_BHSK, v_BHLK), dim=2)
        self.k_BHSK, self.v_BHSK = k_BHLK, v_BHLK
        return k_BHLK, v_BHLK


class KVCache:
    """One `LayerCache` per layer."""

    def __init__(self, num_layers: int) -> None:
        self.layers = [LayerCache() for _ in range(num_layers)]

    def select(self, rows: Tensor) -> None:
        """Keep the given batch rows, in that order and as often as each occurs."""
        for layer in self.layers:
            if layer.k_BHSK is not None and layer.v_BHSK is not None:
                chosen = rows.to(layer.k_BHSK.device)
                layer.k_BHSK = layer.k_BHSK.index_select(0, chosen)
                layer.v_BHSK = layer.v_BHSK.index_select(0, chosen)
