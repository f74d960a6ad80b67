"""QLLaMA: InternVL's LLaMA text tower, which can also read an image through cross-attention.

Shapes: B batch, L positions, S key positions, D width, Q query positions, N image tokens, V vision width,
H heads, K channels per head.
"""

import math
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..backbone.attention import attention
from ..backbone.layers import RMSNorm
from .config import InternVLConfig, QLLaMAConfig
from .cross_attention import CrossAttention
from .rope import rotate, rotation


@dataclass
class KVCache:
    """Keys and values of every layer so far, one (B, H, S, K) pair per layer; empty before the first forward."""

    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def extend(self, layer: int, k_BHLK: Tensor, v_BHLK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of the layer, the given ones appended."""
        if layer == len(self.layers):
            self.layers.append((k_BHLK, v_BHLK))
        else:
            k_old, v_old = self.layers[layer]
            self.layers[layer] = (torch.cat((k_old, k_BHLK), dim=2), torch.cat((v_old, v_BHLK), dim=2))
        return self.layers[layer]

    def select(self, rows: Tensor) -> None:
        """Keep the given batch rows, in that order and as often as they occur."""
        self.layers = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.layers]


class SelfAttention(nn.Module):
    """Multi-head attention with rotary positions and bias-free projections."""

    def __init__(self, config: QLLaMAConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(
        self, x_BLD: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: KVCache | None, layer: int
    ) -> Tensor:
        """What each position reads from the positions its mask allows, (B, L, D)."""
        q, k, v = (
            rearrange(project(x_BLD), "B L (H K) -> B H L K", H=self.num_heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, *turn), rotate(k, *turn)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        return self.o_proj(rearrange(attention(q, k, v, mask=mask), "B H L K -> B L (H K)"))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """The gated feed-forward layer SwiGLU (Shazeer 2020)."""

    def __init__(self, config: QLLaMAConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D)."""
        return self.down_proj(F.silu(self.gate_proj(x_BLD)) * self.up_proj(x_BLD))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Self-attention, then cross-attention of the query positions where the layer has it, then the MLP."""

    def __init__(self, config: QLLaMAConfig, vision_hidden_size: int | None) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.cross_attn = None
        if vision_hidden_size is not None:
            self.cross_attn = CrossAttention(
                config.hidden_size, vision_hidden_size, config.num_attention_heads, config.rms_norm_eps
            )

    def forward(
        self,
        x_BLD: Tensor,
        turn: tuple[Tensor, Tensor],
        mask: Tensor | None,
        image_BNV: Tensor | None,
        num_queries: int,
        cache: KVCache | None,
        layer: int,
    ) -> Tensor:
        """(B, L, D)."""
        x_BLD = x_BLD + self.self_attn(self.input_layernorm(x_BLD), turn, mask, cache, layer)
        if self.cross_attn is not None and image_BNV is not None:
            queries, text = x_BLD[:, :num_queries], x_BLD[:, num_queries:]
            x_BLD = torch.cat((queries + self.cross_attn(queries, image_BNV), text), dim=1)
        return x_BLD + self.mlp(self.post_attention_layernorm(x_BLD))  # type: ignore[no-any-return]


class QLLaMA(nn.Module):
    """The decoder without its language-model head: embeddings in, normed hidden states out."""

    def __init__(self, config: InternVLConfig, vision_width: int, cross_attention: bool) -> None:
        super().__init__()
        qllama = config.qllama_config
        self.config = qllama
        self.num_query_token = config.num_query_token
        self.gradient_checkpointing = False
        self.embed_tokens = nn.Embedding(qllama.vocab_size, qllama.hidden_size)
        self.layers = nn.ModuleList(
            Layer(qllama, vision_width if cross_attention and i % config.cross_attention_frequency == 0 else None)
            for i in range(qllama.num_hidden_layers)
        )
        self.norm = RMSNorm(qllama.hidden_size, qllama.rms_norm_eps)

    @torch.no_grad()
    def init_weights(self) -> None:
        """Fresh weights in place: normal with `initializer_range`, norms 1.

        Maps that write into the residual stream get 1/sqrt(2 * layers) of it (GPT-2, Radford et al. 2019, section 2.3).
        """
        std = self.config.initializer_range
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith(("o_proj", "down_proj"))
                nn.init.normal_(module.weight, std=std / math.sqrt(2 * len(self.layers)) if residual else std)
            elif isinstance(module, RMSNorm):
                nn.init.ones_(module.weight)

    def forward(
        self,
        x_BLD: Tensor,
        *,
        mask: Tensor | None = None,
        positions_BL: Tensor | None = None,
        image_BNV: Tensor | None = None,
        cache: KVCache | None = None,
        taps: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states after the final norm, (B, L, D).

        `mask` is boolean, broadcastable to (B, H, L, S), true where a position may look; None looks everywhere.
        The image is read by the first `num_query_token` positions, and only when there are as many (so never while
        single tokens are decoded). `taps` receives the input, each layer's output, and the normed last one.
        """
        if positions_BL is None:
            positions_BL = torch.arange(x_BLD.shape[1], device=x_BLD.device)[None]
        channels = self.config.hidden_size // self.config.num_attention_heads
        turn = rotation(positions_BL, channels, self.config.rope_theta)
        if x_BLD.shape[1] < self.num_query_token:
            image_BNV = None
        for i, layer in enumerate(self.layers):
            if taps is not None:
                taps.append(x_BLD)
            args = (x_BLD, turn, mask, image_BNV, self.num_query_token, cache, i)
            recompute = self.gradient_checkpointing and self.training and cache is None
            x_BLD = checkpoint(layer, *args, use_reentrant=False) if recompute else layer(*args)
        x_BLD = self.norm(x_BLD)
        if taps is not None:
            taps.append(x_BLD)
        return x_BLD


def padding_mask(ids_BL: Tensor) -> Tensor:
    """True where an id is a token, (B, 1, 1, L) bool: id 0 is padding (and, in the original too, <unk>)."""
    return (ids_BL > 0)[:, None, None, :]


def causal_mask(length: int, device: torch.device) -> Tensor:
    """True where a position looks at itself or back, (L, L) bool."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def text_mask(ids_BL: Tensor) -> Tensor:
    """Causal and padding mask, (B, 1, L, L) bool; a position with nothing to look at looks at itself.

    Without the exception a text of only padding would average over nothing; all its positions are equal, so looking
    at itself gives what the original's uniform attention gives.
    """
    mask = causal_mask(ids_BL.shape[1], ids_BL.device) & padding_mask(ids_BL)
    itself = torch.eye(ids_BL.shape[1], dtype=torch.bool, device=ids_BL.device)
    return mask | (itself & ~mask.any(dim=-1, keepdim=True))
