"""InternViT, the vision backbone of InternVL (Chen et al., 2023), every published size.

Letters of the shapes: B batch, C colours, H and W pixels, N tokens (class token first, then the patches
row by row), D width.
"""

from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import InvalidInput
from ..whole import write_whole
from .attention import flash_package
from .checkpoint import load_into, read_config, resolve, save_folder
from .config import ViTConfig
from .device import Placement
from .embeddings import Embeddings
from .layers import Layer, RMSNorm
from .positions import resize_positions
from .renames import PTH_TO_HUB, back, vision_part
from .shapes import config_from_shapes
from .shapes_only import shapes_only
from .weights import open_weights


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
        flash_package(attention)  # says at once, not at the first forward, when it is not installed
        self.config = config
        self.gradient_checkpointing = False
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config, attention)
        self.init_weights()

    def forward(self, pixels_BCHW: Tensor, *, patch_keep: float = 1.0) -> Tensor:
        """Tokens of the last layer, BND, class token first, dtype and device of the weights.

        Any height and width divisible by the patch size will do: positions are resized. While training,
        `patch_keep` below 1 keeps that random share of the patches (FLIP, Li et al. 2023); like dropout it
        does nothing in eval mode.
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

        Linear maps, convolution, class token and positions: normal with deviation `initializer_range`, cut at
        twice that; biases 0; norms 1; layer scales `initializer_factor` (CaiT, Touvron et al. 2021).
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

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        config: ViTConfig | None = None,
        dtype: str | torch.dtype = "auto",
        device: Placement = "auto",
        image_size: int | None = None,
        attention: str = "sdpa",
    ) -> Self:
        """The model in eval mode, from a hub folder, a hub id or a weights file.

        `source` may hold an InternViT, a full InternVL (its vision part is taken), or be an
        intern_vit_6b_224px.pth or internvl_c_13b_224px.pth. `config` is needed only for a file of no
        published width. `device` may be a mapping from module names to devices, see `device.place`.
        `image_size` resizes the positions. Peak memory is the model plus one tensor.
        """
        path = resolve(source)
        weights, rename, ignore = vision_part(open_weights(path))
        if config is None and path.is_dir():
            config = ViTConfig.from_dict(read_config(path))
        if config is None:
            config = config_from_shapes({rename(name): weights.shape(name) for name in weights})
        if image_size is not None:
            replace(config, image_size=image_size)  # refuses a size that does not fit before anything is read
        with shapes_only():
            vit = cls(config, attention=attention)
        load_into(vit, weights, rename=rename, ignore=ignore, dtype=dtype, device=device)
        if image_size is not None:
            vit.set_image_size(image_size)
        return vit.eval()

    def set_image_size(self, image_size: int) -> None:
        """Nothing; the positions are then resized for good to square images of `image_size` pixels."""
        self.config = replace(self.config, image_size=image_size)
        positions = self.embeddings.position_embedding
        resized = resize_positions(positions.detach(), self.config.grid, self.config.grid)
        self.embeddings.position_embedding = nn.Parameter(resized, requires_grad=positions.requires_grad)

    def save_pretrained(self, folder: str | Path) -> None:
        """Nothing; the folder then holds config.json and model.safetensors as on the hub."""
        save_folder(folder, self.config.to_dict(), self.state_dict())

    def save_pth(self, path: str | Path) -> None:
        """Nothing; the file then holds the weights named as in intern_vit_6b_224px.pth."""
        module = {back(name, PTH_TO_HUB): tensor for name, tensor in self.state_dict().items()}
        write_whole(Path(path), lambda temporary: torch.save({"module": module}, temporary))
