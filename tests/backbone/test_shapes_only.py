"""Modules built for their shapes alone."""

import subprocess
import sys

import torch
from polylens.backbone.shapes_only import shapes_only
from torch import nn

LOADS = """
import sys, torch, polylens
from torch import nn
{load}
print("torch._dynamo" in sys.modules)
"""


def layers() -> nn.Module:
    return nn.ModuleList([nn.Linear(3, 4), nn.Embedding(5, 6), nn.LayerNorm(4), nn.Conv2d(3, 4, 2)])


def test_the_shapes_are_those_of_a_real_module() -> None:
    with shapes_only():
        hollow = layers()
    real = {name: tensor.shape for name, tensor in layers().state_dict().items()}
    assert {name: tensor.shape for name, tensor in hollow.state_dict().items()} == real
    assert all(parameter.is_meta and parameter.requires_grad for parameter in hollow.parameters())


def test_outside_modules_are_initialised_as_ever() -> None:
    torch.manual_seed(0)
    before = layers()[0].weight.detach().clone()
    with shapes_only():
        layers()
    torch.manual_seed(0)
    assert torch.equal(layers()[0].weight, before) and before.std() > 0.1


def test_loading_a_model_leaves_the_compiler_alone() -> None:
    assert imports_compiler('polylens.load("mini")') == "False"


def test_control_plain_initialisation_on_the_meta_device_imports_it() -> None:
    assert imports_compiler('with torch.device("meta"): nn.Embedding(5, 6)') == "True"


def imports_compiler(load: str) -> str:
    code = LOADS.format(load=load)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
