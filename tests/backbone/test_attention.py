"""The one attention function against a naive twin, and its choice of kernel."""

import math
import sys
from types import SimpleNamespace

import pytest
import torch
from polylens.backbone import InternViT
from polylens.backbone import attention as module
from polylens.backbone.attention import attention, flash_fits
from polylens.backbone.sizes import INTERNVIT_300M_448PX
from polylens.errors import InvalidInput, MissingExtra
from torch import Tensor


def naive(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention written out, with a boolean mask."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v


def qkv(queries: int = 5, keys: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, queries, 8), torch.randn(2, 3, keys, 8), torch.randn(2, 3, keys, 8)


def test_plain() -> None:
    q, k, v = qkv(5, 7)
    torch.testing.assert_close(attention(q, k, v), naive(q, k, v))


def test_causal() -> None:
    q, k, v = qkv()
    torch.testing.assert_close(
        attention(q, k, v, causal=True), naive(q, k, v, torch.ones(5, 5, dtype=torch.bool).tril())
    )


def test_masks_boolean_and_added() -> None:
    q, k, v = qkv(5, 7)
    mask = torch.rand(2, 1, 5, 7) > 0.4
    mask[..., 0] = True
    added = torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
    torch.testing.assert_close(attention(q, k, v, mask=mask), naive(q, k, v, mask))
    torch.testing.assert_close(attention(q, k, v, mask=added), naive(q, k, v, mask))
    assert not torch.allclose(attention(q, k, v), naive(q, k, v, mask))


def test_refuses_what_has_two_meanings() -> None:
    q, k, v = qkv(5, 7)
    with pytest.raises(InvalidInput, match="causal"):
        attention(q, k, v, causal=True)
    with pytest.raises(InvalidInput, match="causal"):
        attention(q, q, q, causal=True, mask=torch.ones(5, 5, dtype=torch.bool))
    with pytest.raises(InvalidInput, match="'eager'"):
        attention(q, k, v, implementation="eager")


def test_flash_absent_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    with pytest.raises(MissingExtra, match=r"polylens\[gpu\]"):
        attention(*qkv(), implementation="flash")
    with torch.device("meta"), pytest.raises(MissingExtra, match=r"polylens\[gpu\]"):
        InternViT(INTERNVIT_300M_448PX, attention="flash")


def fake_flash(calls: list[bool]) -> SimpleNamespace:
    """A flash-attn that records its calls and takes (B, L, H, K), as the real one does."""

    def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
        calls.append(causal)
        mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return naive(q, k, v, mask.tril() if causal else mask).transpose(1, 2)

    return SimpleNamespace(flash_attn_func=flash_attn_func)


@pytest.mark.parametrize("causal", [False, True])
def test_flash_present(monkeypatch: pytest.MonkeyPatch, causal: bool) -> None:
    calls: list[bool] = []
    monkeypatch.setitem(sys.modules, "flash_attn", fake_flash(calls))
    q, k, v = qkv()
    # On the CPU the same request goes to SDPA.
    cpu = attention(q, k, v, causal=causal, implementation="flash")
    assert calls == []
    monkeypatch.setattr(module, "flash_fits", lambda x: True)
    flash = attention(q, k, v, causal=causal, implementation="flash")
    assert calls == [causal]
    torch.testing.assert_close(flash, cpu)
    # A mask is beyond it.
    attention(q, k, v, mask=torch.ones(5, 5, dtype=torch.bool), implementation="flash")
    assert calls == [causal]


@pytest.mark.parametrize(
    ("is_cuda", "dtype", "width", "fits"),
    [
        (True, torch.bfloat16, 128, True),
        (True, torch.float16, 64, True),
        (True, torch.float32, 64, False),
        (True, torch.bfloat16, 320, False),
        (False, torch.bfloat16, 64, False),
    ],
)
def test_flash_fits(is_cuda: bool, dtype: torch.dtype, width: int, fits: bool) -> None:
    assert flash_fits(SimpleNamespace(is_cuda=is_cuda, dtype=dtype, shape=(1, 1, 1, width))) == fits  # type: ignore[arg-type]
