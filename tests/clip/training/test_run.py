"""Whole runs on eight coloured squares: they learn, resume exactly, and several processes equal one."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from polylens.clip.internvl_c import InternVLC
from polylens.clip.tokenizer import Tokenizer
from polylens.clip.training.batches import Batch, BatchMaker
from polylens.clip.training.config import TrainConfig
from polylens.clip.training.data import load_pairs
from polylens.clip.training.learner import Learner
from polylens.clip.training.run import train
from polylens.errors import InvalidInput
from safetensors.torch import load_file

from .killed import killed_at

RICH = {
    "augment": True,
    "patch_dropout": 0.5,
    "small_size": 14,
    "small_steps": 4,
    "proxies": 1.0,
    "image_contrast": 0.5,
    "bag_steps": 3,
}


def config(files: Path, **changes: object) -> TrainConfig:
    return dataclasses.replace(TrainConfig.from_toml(files / "train.toml"), **changes)  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_last_steps_see_every_patch(
    training_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, forward = [], Learner.forward

    def noted(
        self: Learner, batch: Batch, patch_keep: float = 1.0
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        kept.append(patch_keep)
        return forward(self, batch, patch_keep)

    monkeypatch.setattr(Learner, "forward", noted)
    train(config(training_files, steps=5, patch_dropout=0.25, whole_steps=2), tmp_path)
    assert kept == [0.75, 0.75, 0.75, 1.0, 1.0]


def test_it_learns_and_leaves_a_model_that_loads(training_files: Path, tmp_path: Path) -> None:
    settings = config(training_files, steps=60, learning_rate=3e-3, save_every=60)
    model = InternVLC.from_pretrained(
        train(settings, tmp_path / "out"), dtype=torch.float32, device="cpu"
    ).eval()
    pairs = load_pairs(settings.pairs, None)
    batch = BatchMaker(settings, pairs, Tokenizer.from_pretrained(tmp_path / "out" / "model"), 28, 0, 1).make(
        0
    )[0]
    with torch.inference_mode():
        image, text = model(batch.pixels_BCHW, batch.ids_ML)
    nearest = (F.normalize(image, dim=1) @ F.normalize(text, dim=1).T).argmax(1)
    assert nearest.tolist() == list(range(8))
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_killed_run_resumes_to_the_same_weights(training_files: Path, tmp_path: Path) -> None:
    settings = config(training_files, **RICH)
    unbroken = weights(train(settings, tmp_path / "unbroken"))

    with killed_at(4):  # the checkpoint of step 3 is on disk
        train(settings, tmp_path / "killed")
    assert same(weights(train(settings, tmp_path / "killed", resume=True)), unbroken)

    # The control: the check would see a run that did not go the same way.
    assert not same(weights(train(dataclasses.replace(settings, seed=4), tmp_path / "other")), unbroken)


def test_a_run_is_neither_overwritten_nor_continued_with_other_settings(
    training_files: Path, tmp_path: Path
) -> None:
    settings = config(training_files, steps=3)
    train(settings, tmp_path)
    with pytest.raises(InvalidInput, match="already holds a run"):
        train(settings, tmp_path)
    with pytest.raises(InvalidInput, match=r"other settings \(learning_rate\)"):
        train(dataclasses.replace(settings, learning_rate=0.5), tmp_path, resume=True)


def test_two_processes_take_the_steps_of_one(training_files: Path, tmp_path: Path) -> None:
    alone = weights(train(config(training_files, steps=3, proxies=0.5), tmp_path / "alone"))
    toml = (training_files / "train.toml").read_text() + "proxies = 0.5\n"
    (training_files / "two.toml").write_text(toml)
    # --standalone takes a free port; with --master-port=0 the processes would wait for each other at port 0.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    command += ["--nproc-per-node=2", "-m", "polylens", "train", "contrastive"]
    command += [str(training_files / "two.toml"), str(tmp_path / "two"), "--steps", "3"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
    ) as run:
        try:
            _, errors = run.communicate(timeout=250)
        finally:  # torchrun's own processes too
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 0, errors[-2000:]
    two = weights(tmp_path / "two" / "model")
    for name, expected in alone.items():
        torch.testing.assert_close(
            two[name], expected, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
    untrained = weights(train(config(training_files, steps=1, proxies=0.5), tmp_path / "one step"))
    assert not torch.allclose(untrained["text_projection"], two["text_projection"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lerning_rate = 1", "unknown settings lerning_rate"),
        ("batch_size = 7\naccumulate = 2", "batch_size 7 is not a multiple"),
        ("patch_dropout = 1.0", "patch_dropout is 1.0"),
        ("precision = 'int4'", "expected auto, fp32 or bf16"),
        ("steps = 0", "steps is 0"),
        ("steps = ", "cannot read the training file"),
    ],
)
def test_a_wrong_setting_is_named(training_files: Path, tmp_path: Path, line: str, message: str) -> None:
    key = line.split(" ")[0]
    kept = [
        row for row in (training_files / "train.toml").read_text().splitlines() if not row.startswith(key)
    ]
    (tmp_path / "bad.toml").write_text("\n".join([*kept, line]))
    with pytest.raises(InvalidInput, match=message):
        TrainConfig.from_toml(tmp_path / "bad.toml")
