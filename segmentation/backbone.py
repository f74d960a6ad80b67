"""InternViT as a backbone of mmsegmentation: hidden states at chosen depths, as maps.

Letters of the shapes: B batch, C colours, N tokens, D width, H and W pixels, or rows and columns of patches.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from einops import rearrange
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..backbone import SIZES, InternViT, ViTConfig
from ..backbone.checkpoint import read_config, resolve
from ..errors import InvalidInput
from .names import to_ours
from .pyramid import Pyramid

MINI = Path(__file__).parents[1] / "clip" / "mini"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@MODELS.register_module(name="InternViT")
class InternViTBackbone(BaseModule):  # type: ignore[misc]  # mmengine has no types
    """Pixels BCHW to one float32 map BDHW for each tap, or to four levels with the pyramid.

    `size` is a hub id of `SIZES`, "mini", a mapping with the keys of a hub config.json, or None: then the
    folder `pretrained` says it. `pretrained` is what `InternViT.from_pretrained` takes, or "mini"; it is read
    when mmengine initialises the weights, so a model built to load a checkpoint of its own does not need it.
    `taps` counts layers from 0. `image_size` is that of the crops: positions are resized to it once and
    trained so; any other multiple of the patch size works too. `frozen` trains nothing but the pyramid.
    `precision="bfloat16"` stores a frozen network in it; a trained one stays float32 and computes under
    autocast.
    """

    def __init__(
        self,
        size: str | Mapping[str, Any] | None = None,
        *,
        pretrained: str | None = None,
        image_size: int | None = None,
        taps: Sequence[int] = (-1,),
        pyramid: bool = False,
        final_norm: bool = False,
        frozen: bool = False,
        drop_path: float = 0.0,
        checkpointing: bool = False,
        precision: str = "float32",
        attention: str = "sdpa",
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        if precision not in PRECISIONS:
            raise InvalidInput(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        self.pretrained = str(MINI) if pretrained == "mini" else pretrained
        self.native = replace(vit_config(size, self.pretrained), drop_path_rate=drop_path)
        self.image_size = image_size or self.native.image_size
        self.taps = check_taps(taps, self.native.num_hidden_layers, 4 if pyramid else None)
        self.frozen, self.precision, self.attention = frozen, PRECISIONS[precision], attention
        self.vit = InternViT(replace(self.native, image_size=self.image_size), attention=attention)
        self.vit.gradient_checkpointing = checkpointing and not frozen
        if frozen:
            self.vit.to(self.precision).requires_grad_(False)
        self.pyramid = Pyramid(self.native.hidden_size, final_norm=final_norm) if pyramid else None
        self._register_load_state_dict_pre_hook(self.adapt_checkpoint)

    def forward(self, pixels_BCHW: Tensor) -> tuple[Tensor, ...]:
        rows, columns = (side // self.native.patch_size for side in pixels_BCHW.shape[-2:])
        with self.computing_on(pixels_BCHW.device):
            with torch.no_grad() if self.frozen else nullcontext():
                states = self.tapped(pixels_BCHW)
            maps = [rearrange(state[:, 1:], "b (h w) d -> b d h w", h=rows, w=columns) for state in states]
            if self.pyramid is not None:
                maps = self.pyramid([level.to(self.pyramid_dtype) for level in maps])
        return tuple(level.float().contiguous() for level in maps)

    def tapped(self, pixels_BCHW: Tensor) -> list[Tensor]:
        """The tokens BND after each tapped layer; the layers above the last tap are not run."""
        tokens_BND: Tensor = self.vit.embeddings(pixels_BCHW)
        checkpointing = self.vit.gradient_checkpointing and self.training
        kept: dict[int, Tensor] = {}
        for index, layer in enumerate(self.vit.encoder.layers[: max(self.taps) + 1]):
            if checkpointing:
                tokens_BND = checkpoint(layer, tokens_BND, use_reentrant=False)
            else:
                tokens_BND = layer(tokens_BND)
            if index in self.taps:
                kept[index] = tokens_BND
        return [kept[tap] for tap in self.taps]

    @property
    def pyramid_dtype(self) -> torch.dtype:
        """The dtype of the pyramid's weights."""
        return next(self.pyramid.parameters()).dtype if self.pyramid is not None else torch.float32

    def computing_on(self, device: torch.device) -> AbstractContextManager[Any]:
        """Autocast to the backbone's precision, or what surrounds it when that is float32."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.precision)

    def init_weights(self) -> None:
        """Nothing; the network then holds the weights of `pretrained`, with positions for `image_size`.

        The parameters stay the same objects, as mmengine counts on; they give up their memory before the
        checkpoint is read, so the peak is the model and one tensor.
        """
        if self.pretrained is None:
            return
        kind = self.precision if self.frozen else torch.float32
        own = dict(self.vit.named_parameters())
        for parameter in own.values():
            parameter.data = parameter.data.new_empty(0)
        loaded = InternViT.from_pretrained(
            self.pretrained, config=self.native, dtype=kind, device="cpu", image_size=self.image_size
        )
        for name, parameter in loaded.named_parameters():
            own[name].data = parameter.data

    def train(self, mode: bool = True) -> Self:
        """The module itself; a frozen network stays in eval mode, without drop path."""
        super().train(mode)
        if self.frozen:
            self.vit.eval()
        return self

    def adapt_checkpoint(self, state: dict[str, Any], prefix: str, *_: Any) -> None:
        """Nothing; a checkpoint about to be loaded then has our names and positions of our size."""
        to_ours(state, prefix, self.vit.embeddings.position_embedding)


def vit_config(size: str | Mapping[str, Any] | None, pretrained: str | None) -> ViTConfig:
    """The sizes a config file asks for."""
    if size == "mini":
        return ViTConfig.from_dict(read_config(MINI))
    if isinstance(size, str):
        if size not in SIZES:
            raise InvalidInput(f"size {size!r} is none of mini, {', '.join(SIZES)}; a mapping says any other")
        return SIZES[size]
    if size is not None:
        return ViTConfig.from_dict(dict(size))
    if pretrained is None:
        raise InvalidInput("the backbone needs a size (a hub id or a mapping) or a pretrained folder")
    return ViTConfig.from_dict(read_config(resolve(pretrained)))


def check_taps(taps: Sequence[int], layers: int, count: int | None) -> list[int]:
    """The taps counted from 0 (negative ones from the end), or `InvalidInput`."""
    found = [tap + layers if tap < 0 else tap for tap in taps]
    if not found or min(found) < 0 or max(found) >= layers:
        raise InvalidInput(f"taps must be layers 0 to {layers - 1} of this backbone, got {list(taps)}")
    if count is not None and len(found) != count:
        raise InvalidInput(f"the pyramid needs {count} taps, got {list(taps)}")
    return found
