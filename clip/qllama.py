"""QLLaMA: InternVL's LLaMA text tower, which can also read an image through cross-attention.

Shapes: B batch, L positions, S key positions, D width, N image tokens, V vision width, H heads, K per head.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..backbone.attention import attention
from ..backbone.layers import RMSNorm
from .config import InternVLConfig, QLLaMAConfig
from .cross_attention import CrossAttention
from .kv_cache import KVCache, LayerCache
from .rope import Rotation, rotate, rotation


class SelfAttention(nn.Module):
    """Multi-head attention with rotary positions and bias-free projections."""

    def __init__(self, config: QLLaMAConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x_BLD: Tensor, turn: Rotation, mask: Tensor | None, cache: LayerCache | None) -> Tensor:
        """What each position reads from the positions its mask allows, (B, L, D)."""
        q, k, v = (
            rearrange(project(x_BLD), "B L (H K) -> B H L K", H=self.num_heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, turn), rotate(k, turn)
        if cache is not None:
            k, v = cache.extend(k, v)
        out_BLD: Tensor = self.o_proj(rearrange(attention(q, k, v, mask=mask), "B H L K -> B L (H K)"))
        return out_BLD


class MLP(nn.Module):
    """The gated feed-forward layer SwiGLU (Shazeer 2020)."""

    def __init__(self, config: QLLaMAConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D)."""
        out_BLD: Tensor = self.down_proj(F.silu(self.gate_proj(x_BLD)) * self.up_proj(x_BLD))
        return out_BLD


class Layer(nn.Module):
    """Self-attention, then cross-attention of the query positions where the layer has it, then the MLP."""

    def __init__(self, config: InternVLConfig, vision_width: int | None) -> None:
        super().__init__()
        sizes = config.qllama_config
        width, eps = sizes.hidden_size, sizes.rms_norm_eps
        self.num_queries = config.num_query_token
        self.self_attn = SelfAttention(sizes)
        self.mlp = MLP(sizes)
        self.input_layernorm = RMSNorm(width, eps)
        self.post_attention_layernorm = RMSNorm(width, eps)
        self.cross_attn: CrossAttention | None = None
        if vision_width is not None:
            self.cross_attn = CrossAttention(width, vision_width, sizes.num_attention_heads, eps)

    def forward(
        self,
        x_BLD: Tensor,
        turn: Rotation,
        mask: Tensor | None,
        image_BNV: Tensor | None,
        cache: LayerCache | None,
    ) -> Tensor:
        """(B, L, D). Only a sequence that holds all query positions reads the image, and only these do."""
        device = self.input_layernorm.weight.device
        # A layer placed on another device pulls its inputs there; a no-op otherwise.
        x_BLD, turn = x_BLD.to(device), (turn[0].to(device), turn[1].to(device))
        mask = mask.to(device) if mask is not None else None
        x_BLD = x_BLD + self.self_attn(self.input_layernorm(x_BLD), turn, mask, cache)
        if self.cross_attn is not None and image_BNV is not None and x_BLD.shape[1] >= self.num_queries:
            queries, text = x_BLD[:, : self.num_queries], x_BLD[:, self.num_queries :]
            x_BLD = torch.cat((queries + self.cross_attn(queries, image_BNV.to(device)), text), dim=1)
        x_BLD = x_BLD + self.mlp(self.post_attention_layernorm(x_BLD))
        return x_BLD


class QLLaMA(nn.Module):
    """The decoder without its language-model head: embeddings in, normed hidden states out."""

    def __init__(self, config: InternVLConfig, vision_width: int, cross_attention: bool) -> None:
        super().__init__()
        self.config = config.qllama_config
        self.gradient_checkpointing = False
        self.embed_tokens = nn.Embedding(self.config.vocab_size, self.config.hidden_size)
        frequency = config.cross_attention_frequency
        self.layers = nn.ModuleList(
            Layer(config, vision_width if cross_attention and index % frequency == 0 else None)
            for index in range(self.config.num_hidden_layers)
        )
        self.norm = RMSNorm(self.config.hidden_size, self.config.rms_norm_eps)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Fresh weights in place: normal with `initializer_range`, norms 1.

        Maps that write into the residual stream get 1 / sqrt(2 * layers) of it (GPT-2, Radford et al. 2019).
        """
        std = self.config.initializer_range
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith(("o_proj", "down_proj"))
                nn.init.normal_(module.weight, std=std / math.sqrt(2 * len(self.layers)) if residual else std)
            elif isinstance(module, RMSNorm):
                nn.init.ones_(module.weight)

    def embed(self, ids_BL: Tensor) -> Tensor:
        """The embeddings of the ids, (B, L, D), where the embeddings are."""
        x_BLD: Tensor = self.embed_tokens(ids_BL.to(self.embed_tokens.weight.device))
        return x_BLD

    def forward(
        self,
        x_BLD: Tensor,
        *,
        mask: Tensor | None = None,
        positions_BL: Tensor | None = None,
        image_BNV: Tensor | None = None,
        cache: KVCache | None = None,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """Hidden states after the final norm, (B, L, D).

        `mask` is boolean, broadcastable to (B, H, L, S), true where a position may look; without it all see
        all. `positions_BL` count from 0 unless given. `states` receives the input, the output of every layer
        but the last, and the result.
        """
        if positions_BL is None:
            positions_BL = torch.arange(x_BLD.shape[1], device=x_BLD.device)[None]
        turn = rotation(positions_BL, self.config.head_width, self.config.rope_theta)
        recompute = self.gradient_checkpointing and self.training and cache is None
        for index, layer in enumerate(self.layers):
            if states is not None:
                states.append(x_BLD)
            args = (x_BLD, turn, mask, image_BNV, cache.layers[index] if cache else None)
            x_BLD = checkpoint(layer, *args, use_reentrant=False) if recompute else layer(*args)
        x_BLD = self.norm(x_BLD.to(self.norm.weight.device))
        if states is not None:
            states.append(x_BLD)
        return x_BLD
