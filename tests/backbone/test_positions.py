"""Position embeddings on other grids, against the original's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from polylens.backbone.positions import resize_positions
from polylens.errors import InvalidInput

GOLDEN = Path(__file__).parents[1] / "golden"


def test_equals_the_original() -> None:
    data = np.load(GOLDEN / "positions" / "internvl_tiny_resized.npz", allow_pickle=False)
    resized = resize_positions(torch.from_numpy(data["native"]), 6, 6)
    np.testing.assert_allclose(resized.numpy(), data["resized"], atol=1e-5, rtol=0)
    # Control: a bilinear resize is another one.
    grid = torch.from_numpy(data["native"])[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    other = torch.nn.functional.interpolate(grid, size=(6, 6), mode="bilinear").flatten(2).transpose(1, 2)
    assert np.abs(other.numpy() - data["resized"][:, 1:]).max() > 1e-3


def test_same_grid_is_the_same_tensor() -> None:
    positions = torch.randn(1, 17, 8)
    assert resize_positions(positions, 4, 4) is positions


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_class_position_and_dtype_are_kept(dtype: torch.dtype) -> None:
    positions = torch.randn(1, 17, 8).to(dtype)
    resized = resize_positions(positions, 3, 5)
    assert resized.shape == (1, 16, 8)
    assert resized.dtype == dtype
    assert torch.equal(resized[:, 0], positions[:, 0])


def test_refuses_a_grid_that_is_no_square() -> None:
    with pytest.raises(InvalidInput, match="16 positions"):
        resize_positions(torch.zeros(1, 16, 8), 4, 4)
