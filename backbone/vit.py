"""InternViT, the vision backbone of InternVL (Chen et al., 2023), every published size.

Letters of the shapes: B batch, C colours, H and W pixels, N tokens (class token first, then the patches
row by row), D width.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import InvalidInput
from .config import ViTConfig
from .layers import Layer, RMSNorm
from .positions import resize_positions


class Embeddings(nn.Module):
    """Pixels to tokens: patches through one convolution, the class token first, positions added."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.patch_size = patch
        self.class_embedding = nn.Parameter(torch.empty(1, 1, width))
        self.patch_embedding = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.position_embedding = nn.Parameter(torch.empty(1, config.grid**2 + 1, width))

    def forward(self, pixels_BCHW: Tensor, patch_keep: float = 1.0) -> Tensor:
        """Tokens BND; `patch_keep` below 1 keeps a random share of each image's patches."""
        height, width = pixels_BCHW.shape[-2:]
        if (
            pixels_BCHW.ndim != 4
            or pixels_BCHW.shape[1] != 3
            or height % self.patch_size
            or width % self.patch_size
        ):
            raise InvalidInput(
                f"pixels must be (B, 3, H, W) with H and W divisible by {self.patch_size}, "
                f"got {tuple(pixels_BCHW.shape)}"
            )
        positions = resize_positions(
            self.position_embedding, height // self.patch_size, width // self.patch_size
        )
        weight = self.patch_embedding.weight
        patches = self.patch_embedding(pixels_BCHW.to(weight.device, weight.dtype)).flatten(2).transpose(1, 2)
        patches = patches + positions[:, 1:]
        if patch_keep < 1:
            patches = keep_patches(patches, patch_keep)
        first = (self.class_embedding + positions[:, :1]).expand(patches.shape[0], -1, -1)
        return torch.cat([first, patches], dim=1)


def keep_patches(patches_BND: Tensor, share: float) -> Tensor:
    """A random `share` of each sample's patches, at least one, in their order (FLIP, Li et al. 2023)."""
    batch, count, width = patches_BND.shape
    kept = max(1, round(count * share))
    chosen = torch.rand(batch, count, device=patches_BND.device).topk(kept, dim=1).indices.sort(dim=1).values
    return patches_BND.gather(1, chosen[..., None].expand(-1, -1, width))


class Encoder(nn.Module):
    """The stack of layers; there is no norm after the last one."""

    def __init__(self, config: ViTConfig, implementation: str) -> None:
        super().__init__()
        last = max(config.num_hidden_layers - 1, 1)
        self.layers = nn.ModuleList(
            Layer(config, config.drop_path_rate * index / last, implementation)
            for index in range(config.num_hidden_layers)
        )

    def forward(
        self, tokens_BND: Tensor, states: list[Tensor] | None = None, checkpointing: bool = False
    ) -> Tensor:
        """Tokens after the last layer, BND; each layer's output is appended to `states` when given."""
        for layer in self.layers:
            # A layer placed on another device pulls its input there; a no-op otherwise.
            tokens_BND = tokens_BND.to(layer.ls1.device)
            if checkpointing:
                tokens_BND = checkpoint(layer, tokens_BND, use_reentrant=False)
            else:
                tokens_BND = layer(tokens_BND)
            if states is not None:
                states.append(tokens_BND)
        return tokens_BND


class InternViT(nn.Module):
    """Pixels BCHW to tokens BND; parameter names equal the hub's, weights as for training from scratch."""

    def __init__(self, config: ViTConfig, *, attention: str = "sdpa") -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config, attention)
        self.init_weights()

    def forward(self, pixels_BCHW: Tensor, *, patch_keep: float = 1.0) -> Tensor:
        """Tokens of the last layer, BND, class token first, dtype and device of the weights.

        Any height and width divisible by the patch size will do: positions are resized. While training,
        `patch_keep` below 1 keeps that random share of the patches; like dropout, it does nothing in eval mode.
        """
        return self.encode(pixels_BCHW, None, patch_keep)

    def hidden_states(self, pixels_BCHW: Tensor) -> list[Tensor]:
        """num_hidden_layers + 1 tensors BND: the embeddings, then every layer's output."""
        states: list[Tensor] = []
        self.encode(pixels_BCHW, states, 1.0)
        return states

    def encode(self, pixels_BCHW: Tensor, states: list[Tensor] | None, patch_keep: float) -> Tensor:
        """Tokens of the last layer, BND, filling `states` on the way when it is a list."""
        if not 0 < patch_keep <= 1:
            raise InvalidInput(f"patch_keep must be in (0, 1], got {patch_keep}")
        tokens_BND: Tensor = self.embeddings(pixels_BCHW, patch_keep if self.training else 1.0)
        if states is not None:
            states.append(tokens_BND)
        tokens_BND = self.encoder(tokens_BND, states, self.training and self.gradient_checkpointing)
        return tokens_BND

    @torch.no_grad()
    def init_weights(self) -> None:
        """Fresh weights for training from scratch, in place.

        Linear maps, convolution, class token and positions: normal with deviation `initializer_range`, cut at two
        deviations; biases 0; norms 1; layer scales `initializer_factor` (CaiT, Touvron et al. 2021).
        """
        std = self.config.initializer_range
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm | RMSNorm):
                nn.init.ones_(module.weight)
                if isinstance(module, nn.LayerNorm):
                    nn.init.zeros_(module.bias)
            elif isinstance(module, Layer):
                module.ls1.fill_(self.config.initializer_factor)
                module.ls2.fill_(self.config.initializer_factor)
        for embedding in (self.embeddings.class_embedding, self.embeddings.position_embedding):
            nn.init.trunc_normal_(embedding, std=std, a=-2 * std, b=2 * std)
