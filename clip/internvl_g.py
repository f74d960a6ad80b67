"""InternVL-G: InternVL-C and a second look at the image through learned queries (Chen et al. 2023).

Shapes: B batch, C colours, H and W pixels, L text positions, P prompt positions, Q queries, N image tokens,
V vision width, T text width, D embedding width, S generated positions.
"""

from functools import partial
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbone.attention_pool import AttentionPool
from ..backbone.checkpoint import load_into, save_folder
from ..backbone.device import Placement
from ..backbone.shapes_only import shapes_only
from ..errors import InvalidInput
from .beam_search import beam_search
from .config import InternVLConfig
from .generate import Decoder, Rules, greedy_search
from .internvl_c import InternVLC, trim_padding
from .masks import matching_mask, prompt_mask
from .pretrained import HEAD, open_checkpoint
from .qllama import QLLaMA
from .renames import G_TO_HUB, back, there

# transformers' default `max_length`, which counts the leading BOS.
DEFAULT_NEW_TOKENS = 19


class InternVLG(nn.Module):
    """Has an InternVL-C (`c`) whose text tower can read images, and the heads of the query path."""

    def __init__(self, config: InternVLConfig, *, attention: str = "sdpa") -> None:
        super().__init__()
        self.config = config
        width, vocabulary = config.qllama_config.hidden_size, config.qllama_config.vocab_size
        qllama = QLLaMA(config, config.vision_config.hidden_size, cross_attention=True)
        self.c = InternVLC(config, attention=attention, qllama=qllama)
        self.query_tokens = nn.Parameter(torch.empty(1, config.num_query_token, width))
        self.clip_projector2 = AttentionPool(width, config.clip_embed_dim, config.attn_pool_num_heads)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.itm_head = nn.Linear(width, 2)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Fresh weights for the query path, in place, drawn like the text tower's; `c` has drawn its own."""
        std = self.config.qllama_config.initializer_range
        self.clip_projector2.init_weights()
        for weight in (self.query_tokens, self.lm_head.weight, self.itm_head.weight):
            nn.init.normal_(weight, std=std)
        nn.init.zeros_(self.itm_head.bias)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        dtype: str | torch.dtype = "auto",
        device: Placement = "auto",
        attention: str = "sdpa",
        config: InternVLConfig | None = None,
        tie_word_embeddings: bool | None = None,
    ) -> Self:
        """The model of a full InternVL folder or hub id, in eval mode; arguments as of `InternVLC`."""
        config, weights = open_checkpoint(source, config, tie_word_embeddings)
        with shapes_only():
            model = cls(config, attention=attention)
        load_into(model, weights, rename=partial(back, table=G_TO_HUB), dtype=dtype, device=device)
        if config.tie_word_embeddings:
            model.lm_head.weight = model.c.qllama.embed_tokens.weight
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors in the hub's names; tied embeddings are written once."""
        state = {there(name, G_TO_HUB): tensor for name, tensor in self.state_dict().items()}
        if self.config.tie_word_embeddings:
            del state[HEAD]
        save_folder(folder, {"architectures": ["InternVLModel"], **self.config.to_dict()}, state)

    def query_features(self, image_BNV: Tensor, states: list[Tensor] | None = None) -> Tensor:
        """What the queries make of the image tokens, (B, Q, T), after QLLaMA's final norm."""
        queries_BQT = self.query_tokens.expand(len(image_BNV), -1, -1)
        features_BQT: Tensor = self.c.qllama(queries_BQT, image_BNV=image_BNV, states=states)
        return features_BQT

    def image_vectors(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Two unit vectors per image, (B, D) each: InternVL-C's, and that of the queries."""
        image_BNV = self.c.vision_model(pixels_BCHW)
        direct_BD = F.normalize(self.c.clip_projector(image_BNV), dim=-1)
        return direct_BD, F.normalize(self.clip_projector2(self.query_features(image_BNV)), dim=-1)

    def encode_image(self, pixels_BCHW: Tensor) -> Tensor:
        """Image vectors, (B, D), not normalised: the sum of the two unit vectors."""
        direct_BD, queried_BD = self.image_vectors(pixels_BCHW)
        return direct_BD.to(queried_BD.device) + queried_BD

    def encode_text(self, ids_BL: Tensor) -> Tensor:
        """Text vectors, (B, D), not normalised: InternVL-C's."""
        return self.c.encode_text(ids_BL)

    def forward(self, pixels_BCHW: Tensor, ids_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Image vectors and text vectors, (B, D) each, not normalised."""
        return self.encode_image(pixels_BCHW), self.encode_text(ids_BL)

    def embed_after_queries(self, ids_BL: Tensor) -> Tensor:
        """The query tokens, then the embedded ids, (B, Q+L, T)."""
        x_BLT = self.c.qllama.embed(ids_BL)
        queries_BQT = self.query_tokens.to(x_BLT.device).expand(len(ids_BL), -1, -1)
        return torch.cat((queries_BQT, x_BLT), dim=1)

    def matching_features(self, image_BNV: Tensor, ids_BL: Tensor) -> Tensor:
        """The queries' states after reading image and text together, (B, Q, T)."""
        ids_BL, num_queries = trim_padding(ids_BL), self.config.num_query_token
        mask = matching_mask(ids_BL, num_queries)
        states_BLT: Tensor = self.c.qllama(self.embed_after_queries(ids_BL), mask=mask, image_BNV=image_BNV)
        return states_BLT[:, :num_queries]

    def match(self, pixels_BCHW: Tensor, ids_BL: Tensor) -> Tensor:
        """Logits of (no match, match) of each image with its text, (B, 2); one image goes with all texts."""
        if len(pixels_BCHW) not in (1, len(ids_BL)):
            raise InvalidInput(
                f"match needs as many images as texts, or one; got {len(pixels_BCHW)} and {len(ids_BL)}"
            )
        return self.match_tokens(self.c.vision_model(pixels_BCHW).expand(len(ids_BL), -1, -1), ids_BL)

    def match_tokens(self, image_BNV: Tensor, ids_BL: Tensor) -> Tensor:
        """The logits of `match`, (B, 2), for the backbone's tokens of each image and its text."""
        features_BQT = self.matching_features(image_BNV, ids_BL)
        logits_BQ2: Tensor = self.itm_head(features_BQT.to(self.itm_head.weight.device))
        return logits_BQ2.mean(dim=1)

    @torch.no_grad()
    def start_decoding(self, pixels_BCHW: Tensor, ids_BP: Tensor, mask_BP: Tensor) -> Decoder:
        """A decoder that has read the image through the queries, then the prompts (left padded, mask 0)."""
        if ids_BP.shape != mask_BP.shape or len(ids_BP) != len(pixels_BCHW):
            raise InvalidInput(
                f"generate needs one prompt and mask per image: got {len(pixels_BCHW)} images, ids "
                f"{tuple(ids_BP.shape)}, mask {tuple(mask_BP.shape)}"
            )
        if not mask_BP[:, -1].all():
            raise InvalidInput("generate needs prompts padded on the left: the mask's last column must be 1")
        mask = prompt_mask(mask_BP, self.config.num_query_token)
        return Decoder(
            self.c.qllama,
            self.lm_head,
            self.embed_after_queries(ids_BP),
            mask=mask,
            image_BNV=self.c.vision_model(pixels_BCHW),
        )

    @torch.no_grad()
    def generate(
        self,
        pixels_BCHW: Tensor,
        ids_BP: Tensor,
        mask_BP: Tensor,
        *,
        num_beams: int = 1,
        min_new_tokens: int = 0,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        length_penalty: float = 1.0,
    ) -> Tensor:
        """Ids (B, S) int64: BOS, the new tokens (without the prompt), EOS, padding; greedy with one beam."""
        if num_beams < 1:
            raise InvalidInput(f"num_beams must be at least 1, got {num_beams}")
        rules = self.rules(min_new_tokens, max_new_tokens)
        decoder = self.start_decoding(pixels_BCHW, ids_BP, mask_BP)
        if num_beams == 1:
            return greedy_search(decoder, rules)[0]
        return beam_search(decoder, rules, num_beams, length_penalty)[0]

    def rules(self, min_new_tokens: int, max_new_tokens: int) -> Rules:
        """The rules of a search with this model's special ids."""
        ids = self.config.qllama_config
        return Rules(ids.bos_token_id, ids.eos_token_id, ids.pad_token_id, min_new_tokens, max_new_tokens)
