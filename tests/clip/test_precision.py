"""What bfloat16, 8 bits and compiling do to the vectors of the embedded model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polylens
import pytest
import torch
from PIL import Image
from polylens.clip.encoder import Encoder
from polylens.clip.precision import TOWERS, Int8Linear, made_faster, quantized
from polylens.errors import InvalidInput
from torch import nn

TEXTS = ["a red apple", "kikombe cha chai", "两只猫", "кот спит", "a photo of a dog in the park"]


def pictures() -> list[Image.Image]:
    rows, columns = np.mgrid[0:64, 0:64]
    made = [np.stack([rows * i, columns * 2, rows + columns * i], axis=2) for i in range(1, 6)]
    return [Image.fromarray((one % 256).astype(np.uint8)) for one in made]


def vectors(encoder: Encoder) -> np.ndarray:
    return np.concatenate([encoder.encode_images(pictures()), encoder.encode_texts(TEXTS)])


@pytest.fixture(scope="module")
def exact() -> tuple[np.ndarray, str]:
    encoder = polylens.load("mini", device="cpu")
    return vectors(encoder), encoder.fingerprint


def drift(exact: np.ndarray, other: np.ndarray) -> float:
    """How far the worst vector is from its own, as 1 - cosine."""
    return float(1 - (exact * other).sum(axis=1).min())


def test_bfloat16_is_rounding_and_keeps_the_fingerprint(exact: tuple[np.ndarray, str]) -> None:
    encoder = polylens.load("mini", device="cpu", dtype="bfloat16")
    assert 1e-7 < drift(exact[0], vectors(encoder)) < 1e-3
    assert encoder.fingerprint == exact[1]


def test_8_bits_drift_further_and_have_a_fingerprint_of_their_own(exact: tuple[np.ndarray, str]) -> None:
    encoder = made_faster(polylens.load("mini", device="cpu"), quantize="int8")
    got = vectors(encoder)
    assert 1e-4 < drift(exact[0], got) < 0.05
    neighbours = exact[0] @ exact[0].T
    assert np.abs(got @ got.T - neighbours).max() < 0.1  # what is near stays near
    assert encoder.fingerprint != exact[1] and len(encoder.fingerprint) == 64
    again = made_faster(polylens.load("mini", device="cpu"), quantize="int8")
    assert again.fingerprint == encoder.fingerprint


def test_a_layer_of_8_bits_is_near_its_own_in_float32() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32), torch.randn(5, 7, 64)
    layer = Int8Linear(linear)
    assert layer(x).shape == (5, 7, 32)
    error = (layer(x) - linear(x)).norm() / linear(x).norm()
    assert 1e-4 < error < 0.03
    assert Int8Linear(nn.Linear(64, 32, bias=False))(x).shape == (5, 7, 32)


def test_layers_whose_weights_are_read_directly_stay() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.MultiheadAttention(4, 2))
    assert quantized(network) == 1
    assert isinstance(network[0], Int8Linear) and isinstance(network[1].out_proj, nn.Linear)
    network[1](*[torch.zeros(1, 1, 4)] * 3)


def test_both_towers_are_compiled_for_batches_of_any_size(
    exact: tuple[np.ndarray, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's compiler itself is not called here: it takes minutes. docs/service.md says what it changes."""
    compiled: list[str] = []
    called: list[str] = []

    def compile(tower: Callable[..., Any], *, dynamic: bool) -> Callable[..., Any]:
        assert dynamic
        compiled.append(tower.__name__)
        return lambda *arguments: (called.append(tower.__name__), tower(*arguments))[1]

    monkeypatch.setattr(torch, "compile", compile)
    encoder = made_faster(polylens.load("mini", device="cpu"), compile=True)
    assert drift(exact[0], vectors(encoder)) < 1e-6
    assert compiled == list(TOWERS[:2]) and set(called) == set(compiled)
    assert encoder.fingerprint == exact[1]


def test_products_of_gated_layers_keep_their_range() -> None:
    """The control: with these layers in 8 bits too, the texts of the embedded model drift further."""
    encoder = polylens.load("mini", device="cpu")
    expected = encoder.encode_texts(TEXTS)
    quantized(encoder.model.network)
    layers = encoder.model.network.qllama.layers
    assert all(type(layer.mlp.down_proj) is nn.Linear for layer in layers)
    kept = drift(expected, encoder.encode_texts(TEXTS))
    for layer in layers:
        layer.mlp.down_proj = Int8Linear(layer.mlp.down_proj)
    assert kept < 0.05 < drift(expected, encoder.encode_texts(TEXTS))


def test_what_cannot_be_is_refused() -> None:
    encoder = polylens.load("mini", device="cpu", dtype="bfloat16")
    with pytest.raises(InvalidInput, match="float32"):
        made_faster(encoder, quantize="int8")
    with pytest.raises(InvalidInput, match="'int4'"):
        made_faster(encoder, quantize="int4")
