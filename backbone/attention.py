"""The one attention every network of polylens goes through.

Letters of the shapes: B batch, H heads, L positions, K width of a head.
"""

from types import ModuleType

import torch.nn.functional as F
from torch import Tensor, bfloat16, float16

from ..errors import InvalidInput, require


def attention(
    q_BHLK: Tensor,
    k_BHLK: Tensor,
    v_BHLK: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    implementation: str = "sdpa",
) -> Tensor:
    """softmax(q kᵀ / √K) v, shape BHLK, dtype of the input; the softmax runs in float32 inside the kernels.

    `mask` broadcasts to (B, H, Lq, Lk): boolean (True takes part) or added to the scores. `implementation`
    is "sdpa" (PyTorch picks the kernel) or "flash" (the package flash-attn, for CUDA tensors in a half
    precision without a mask; anything else goes to SDPA).
    """
    if causal and (mask is not None or q_BHLK.shape[2] != k_BHLK.shape[2]):
        raise InvalidInput(
            "causal attention takes no mask and needs as many queries as keys; pass a mask alone"
        )
    flash_attn = flash_package(implementation)
    if flash_attn is not None and mask is None and flash_fits(q_BHLK):
        q, k, v = (x.transpose(1, 2) for x in (q_BHLK, k_BHLK, v_BHLK))
        out_BLHK: Tensor = flash_attn.flash_attn_func(q, k, v, causal=causal)
        return out_BLHK.transpose(1, 2)
    return F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, attn_mask=mask, is_causal=causal)


def flash_package(implementation: str) -> ModuleType | None:
    """The package flash-attn for "flash" (`MissingExtra` where it is absent), None for "sdpa"."""
    if implementation not in ("sdpa", "flash"):
        raise InvalidInput(f"attention implementation must be 'sdpa' or 'flash', got {implementation!r}")
    return require("flash_attn", "gpu") if implementation == "flash" else None


def flash_fits(x: Tensor) -> bool:
    """Whether flash-attn has a kernel for this tensor: on CUDA, float16 or bfloat16, heads up to 256 wide."""
    return x.is_cuda and x.dtype in (float16, bfloat16) and x.shape[-1] <= 256
