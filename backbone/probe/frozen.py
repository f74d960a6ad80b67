"""The frozen part of a probe: a backbone, the layers that are tapped, and the pooling of the checkpoint.

Letters of the shapes: B batch, C colours, H and W pixels, N tokens, D width, F features, L tapped layers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InvalidInput
from ..attention_pool import AttentionPool
from ..checkpoint import load_into, read_config, resolve
from ..fingerprint import fingerprint
from ..shapes_only import shapes_only
from ..vit import InternViT
from ..weights import Weights, open_weights
from .heads import pooled

PROJECTOR = "clip_projector."
PROJECTOR_HEADS = 16  # of the published InternVL, where no config.json says


@dataclass(frozen=True)
class Frozen:
    """A backbone in eval mode and what is taken from it."""

    vit: InternViT
    kind: str
    layers: tuple[int, ...]  # how many layers the tokens have passed; ascending
    projector: AttentionPool | None
    fingerprint: str

    @property
    def width(self) -> int:
        """Features of one image and layer: of one token, where the head pools."""
        if self.kind == "clip_projector" and self.projector is not None:
            return self.projector.cross_attn.proj.out_features
        return self.vit.config.hidden_size * (2 if self.kind == "cls_patch_concat" else 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image's features: (L, F), or (L, N, D) where the head pools."""
        tokens = (self.vit.config.grid**2 + 1,) if self.kind == "attention_pooling" else ()
        return (len(self.layers), *tokens, self.width)

    @torch.no_grad()
    def features(self, pixels_BCHW: Tensor) -> Tensor:
        """(B, L, F) float32, or (B, L, N, D) tokens where the head pools them; on the backbone's device."""
        device = next(self.vit.parameters()).device
        found = [
            pooled(self.kind, tokens_BND, self.projector).float()
            for tokens_BND in tapped(self.vit, pixels_BCHW.to(device), self.layers)
        ]
        return torch.stack([one.to(found[-1].device) for one in found], dim=1)


def tapped(vit: InternViT, pixels_BCHW: Tensor, layers: Sequence[int]) -> Iterator[Tensor]:
    """The tokens BND after each of `layers` (ascending); no more layers are run than that, none are kept."""
    tokens_BND: Tensor = vit.embeddings(pixels_BCHW)
    for passed, layer in enumerate(vit.encoder.layers, 1):
        tokens_BND = layer(tokens_BND)
        if passed in layers:
            yield tokens_BND
        if passed == layers[-1]:
            return


def count_layers(layers: Sequence[int], depth: int) -> tuple[int, ...]:
    """Numbers of layers passed, 1 to `depth`, ascending; negative ones count from the end (-1: all)."""
    found = sorted({layer + depth + 1 if layer < 0 else layer for layer in layers})
    if not found or found[0] < 1 or found[-1] > depth:
        raise InvalidInput(
            f"layers are {list(layers)}, expected 1 to {depth}, or -{depth} to -1 from the end"
        )
    return tuple(found)


def freeze(
    source: str | Path,
    kind: str,
    layers: Sequence[int],
    *,
    image_size: int = 0,
    patch_size: int = 0,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "auto",
    vit: InternViT | None = None,
) -> Frozen:
    """The frozen part from a checkpoint; 0 keeps its own image or patch size.

    `vit` takes the place of the checkpoint's backbone: for sizes that were never published.
    """
    vit = vit or InternViT.from_pretrained(source, dtype=dtype, device=device)
    vit.requires_grad_(False).eval()
    if patch_size and patch_size != vit.config.patch_size:
        set_patch_size(vit, patch_size, image_size or vit.config.image_size)
    if image_size and image_size != vit.config.image_size:
        replace(vit.config, image_size=image_size)  # refuses a size that does not fit
        vit.set_image_size(image_size)
    projector = read_projector(source, vit) if kind == "clip_projector" else None
    state = dict(vit.state_dict())
    if projector is not None:
        state |= {f"{PROJECTOR}{name}": tensor for name, tensor in projector.state_dict().items()}
    spec = {"image_size": vit.config.image_size, "heads": vit.config.num_attention_heads}
    counted = count_layers(layers, vit.config.num_hidden_layers)
    return Frozen(vit, kind, counted, projector, fingerprint(state, spec))


def set_patch_size(vit: InternViT, patch_size: int, image_size: int) -> None:
    """Nothing; kernel and positions are then resized for good to other patches.

    The kernel is resized bicubically without antialiasing and without rescaling, as the original does.
    """
    convolution = vit.embeddings.patch_embedding
    weight = convolution.weight.detach()
    size = (patch_size, patch_size)
    resized = F.interpolate(weight.float(), size=size, mode="bicubic", align_corners=False)
    convolution.weight = nn.Parameter(resized.to(weight.dtype), requires_grad=False)
    convolution.kernel_size = convolution.stride = size
    vit.embeddings.patch_size = patch_size
    vit.config = replace(vit.config, patch_size=patch_size, image_size=image_size)
    vit.set_image_size(image_size)


def read_projector(source: str | Path, vit: InternViT) -> AttentionPool:
    """The checkpoint's own pooling (`clip_projector.*`), frozen, beside the backbone's last layer."""
    path = resolve(source)
    weights = open_weights(path)
    mine = {name: reader for name, reader in weights.readers.items() if name.startswith(PROJECTOR)}
    if not mine:
        raise InvalidInput(f"{path.name} holds no {PROJECTOR}*, which the head clip_projector needs")
    heads = read_config(path).get("attn_pool_num_heads") if path.is_dir() else None
    out_width, width = weights.shape(f"{PROJECTOR}cross_attn.proj.weight")
    heads = heads or (PROJECTOR_HEADS if width == 3200 else vit.config.num_attention_heads)
    with shapes_only():
        projector = AttentionPool(width, out_width, heads)
    last = next(reversed(list(vit.parameters())))
    load_into(
        projector,
        Weights(mine),
        rename=lambda name: name.removeprefix(PROJECTOR),
        dtype=last.dtype,
        device=last.device,
    )
    return projector.requires_grad_(False).eval()
