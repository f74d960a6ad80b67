"""The sharded recipe, scaled down, on two processes of a CPU: what can run of it without a GPU does."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from polylens.segmentation.checks import check_checkpoint
from polylens.segmentation.runs import load_config, model_without_weights

CHILD = Path(__file__).with_name("sharded_child.py")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_two_processes_train_halves_and_save_the_whole(drawn: Path, tmp_path: Path, weights: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("the processes would take the GPU")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
        "--master-addr", "127.0.0.1", "--master-port", str(free_port()),
        str(CHILD), str(drawn), str(tmp_path / "work"), weights,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    said = re.findall(r"units (.*); held (\d+) of (\d+)", done.stdout)
    assert len(said) == 2
    for units, held, whole in said:
        # One unit for each layer of the backbone, and one for all the rest.
        assert units.split() == ["Layer"] * 4 + ["SlidingEncoderDecoder"]
        assert int(held) < 0.6 * int(whole)

    # The checkpoint is that of an unsharded run.
    state = torch.load(tmp_path / "work" / "iter_2.pth", weights_only=True)["state_dict"]
    child = load_config(tmp_path / "work" / "tiny.py")
    check_checkpoint(model_without_weights(child), state, "the gathered checkpoint")
    before = torch.load(weights, weights_only=True)["module"]["blocks.0.mlp.fc1.weight"]
    after = state["backbone.vit.encoder.layers.0.mlp.fc1.weight"]
    assert after.shape == before.shape and not torch.equal(after, before)


def test_deepspeed_says_what_it_needs() -> None:
    """Its strategy is read and merged; without the package mmengine refuses to begin, and that is said."""
    config = load_config("intern_vit_6b_224px/upernet_full_deepspeed")
    assert (config.strategy.type, config.strategy.zero_optimization.stage) == ("DeepSpeedStrategy", 3)
    assert config.optim_wrapper.type == "DeepSpeedOptimWrapper"
    assert config.optim_wrapper.optimizer.type == "AdamW"
