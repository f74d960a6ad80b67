"""The linear head against the original's logits."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from polylens.segmentation import BNLinearHead


@pytest.fixture
def head(golden_state: Callable[[str], dict[str, torch.Tensor]]) -> BNLinearHead:
    head = BNLinearHead(64, num_classes=7, dropout_ratio=0.0)
    state = {name.removeprefix("decode_head."): t for name, t in golden_state("fcn_head").items()}
    head.load_state_dict(state)
    return head.eval()


@torch.no_grad()
def test_logits_equal_the_original(head: BNLinearHead, golden: dict[str, torch.Tensor]) -> None:
    maps = [golden["plain_float32_0"], golden["plain_float32_1"]]
    logits = head(maps)
    assert torch.allclose(logits, golden["fcn_head_logits_from_float32"], atol=3e-4, rtol=0)
    large = F.interpolate(logits, size=(84, 84), mode="bilinear", align_corners=False)
    assert torch.allclose(large, golden["fcn_head_logits_resized"], atol=3e-4, rtol=0)
    assert torch.equal(large.argmax(1), golden["fcn_head_pred"])
    halves = [golden["plain_bfloat16_0"], golden["plain_bfloat16_1"]]
    rough = golden["fcn_head_logits_from_bfloat16"]
    assert (head(halves) - rough).abs().max() <= 3e-2 * rough.abs().max()


@torch.no_grad()
def test_control_another_epsilon_is_noticed(head: BNLinearHead, golden: dict[str, torch.Tensor]) -> None:
    head.norm.eps = 1e-3
    logits = head([golden["plain_float32_1"]])
    assert not torch.allclose(logits, golden["fcn_head_logits_from_float32"], atol=3e-4, rtol=0)
