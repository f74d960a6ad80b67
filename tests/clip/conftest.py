"""The fixtures computed by the original code, as tensors, and the tolerances they were measured to allow."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden"
Close = Callable[[Tensor, Tensor], bool]


@functools.cache
def read_arrays(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / name) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of all fixtures."""
    return GOLDEN


@pytest.fixture(scope="session")
def arrays() -> Callable[[str], dict[str, Tensor]]:
    """A function: path of an .npz below tests/golden -> its arrays as tensors."""
    return read_arrays


@pytest.fixture(scope="session")
def close() -> Close:
    """Whether hidden states, embeddings or features agree as float32 allows."""
    return lambda got, want: got.shape == want.shape and torch.allclose(got, want, atol=2e-5, rtol=1e-4)


@pytest.fixture(scope="session")
def close_logits() -> Close:
    """Whether logits and losses agree as float32 allows."""
    return lambda got, want: got.shape == want.shape and torch.allclose(got, want, atol=1e-4, rtol=0)
