"""Whole runs on a miniature ImageNet: they learn, resume exactly, and the recipes and processes agree."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from polylens.backbone.probe import Classifier, Probe, ProbeConfig
from polylens.backbone.probe.run import train_probe
from polylens.errors import InvalidInput
from safetensors.torch import load_file

CLASSES = 12
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def settings(model: Path) -> ProbeConfig:
    return ProbeConfig(
        model=str(model), epochs=3, batch_size=18, save_every=5, log_every=1, image_size=28, workers=2
    )


def same(first: Tensors, second: Tensors, **tolerance: float) -> bool:
    return first.keys() == second.keys() and all(
        torch.allclose(first[name].double(), second[name].double(), **{"rtol": 0, "atol": 0, **tolerance})
        for name in first
    )


def test_it_learns_and_the_probe_says_what_it_sees(
    settings: ProbeConfig, imagenet: Path, tmp_path: Path
) -> None:
    grid = replace(
        settings, recipe="cheap", epochs=12, learning_rates=(0.1, 3.0), layers=(1, -1), crop_scale=(0.5, 1.0)
    )
    file = train_probe(grid, imagenet, tmp_path / "out", known_as="tiny")
    figures = json.loads((tmp_path / "out" / "candidates.json").read_text())
    report = json.loads((tmp_path / "out" / "validation" / "report.json").read_text())["metrics"]
    assert [row["candidate"] for row in figures] == [
        f"layer {layer}, rate {rate}" for layer in (1, 3) for rate in ("0.1", "3")
    ]
    assert report["acc1"] == max(row["acc1"] for row in figures) > 3 / CLASSES
    for name in ("per_class.csv", "confusion.png", "reliability.png"):
        assert (tmp_path / "out" / "validation" / name).stat().st_size > 100
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")

    classifier = Classifier.open(file, settings.model, device="cpu")
    assert classifier.probe.about.model == "tiny"
    images = sorted((imagenet / "val").rglob("*.JPEG"))
    rankings = list(classifier.predict(images, batch_size=5))
    right = [ranking[0][0] == image.parent.name for ranking, image in zip(rankings, images, strict=True)]
    assert np.mean(right) == pytest.approx(report["acc1"])
    assert all(sum(share for _, share in ranking) == pytest.approx(1, abs=1e-5) for ranking in rankings)


@pytest.mark.parametrize("recipe", ["exact", "cheap"])
def test_a_killed_run_resumes_to_the_same_weights(
    recipe: str, settings: ProbeConfig, imagenet: Path, tmp_path: Path
) -> None:
    chosen = replace(settings, recipe=recipe, passes=1, layers=(-1, 1))
    unbroken = load_file(train_probe(chosen, imagenet, tmp_path / "unbroken"))
    killed = tmp_path / "killed"
    # The process kills itself, as the kernel would, in its eighth step: the checkpoint of the fifth is there.
    program = f"""if True:
        import os, signal
        from pathlib import Path
        from polylens.backbone.probe import ProbeConfig, learner, run
        original = learner.Learner.step
        def step(self, number, *rest):
            if number == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, number, *rest)
        learner.Learner.step = step
        run.train_probe(ProbeConfig(**{chosen.to_dict()!r}), Path({str(imagenet)!r}), Path({str(killed)!r}))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert [path.stem for path in (killed / "checkpoints").iterdir()] == ["step-00000005"]
    assert not (killed / "probe.safetensors").exists()
    again = ProbeConfig(**chosen.to_dict())
    assert same(load_file(train_probe(again, imagenet, killed, resume=True)), unbroken)
    steps = [json.loads(line)["step"] for line in (killed / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13))

    # The control: the check would see a run that did not go the same way.
    other = train_probe(replace(chosen, seed=1), imagenet, tmp_path / "other")
    assert not same(load_file(other), unbroken, atol=1e-6)


def test_stored_views_of_every_epoch_are_the_exact_recipe(
    settings: ProbeConfig, imagenet: Path, tmp_path: Path
) -> None:
    def weights(name: str, **changes: Any) -> Tensors:
        return load_file(train_probe(replace(settings, **changes), imagenet, tmp_path / name))

    exact = weights("exact")
    close = {"atol": 2e-5, "rtol": 1e-3}
    stored = {"recipe": "cheap", "feature_dtype": "float32"}
    assert same(weights("stored", passes=3, **stored), exact, **close)
    assert same(weights("half", passes=3, recipe="cheap"), exact, atol=1e-2, rtol=1e-2)
    assert not same(weights("one pass", passes=1, **stored), exact, **close)  # the control


def test_two_processes_take_the_steps_of_one(settings: ProbeConfig, imagenet: Path, tmp_path: Path) -> None:
    common = replace(settings, epochs=1)
    for recipe in ("exact", "cheap"):
        alone = load_file(train_probe(replace(common, recipe=recipe), imagenet, tmp_path / recipe))
        (tmp_path / "run.toml").write_text(
            f'model = "{settings.model}"\nrecipe = "{recipe}"\nbatch_size = 18\nimage_size = 28\nepochs = 1\n'
        )
        # --standalone takes a free port.
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
        command += ["--nproc-per-node=2", "-m", "polylens", "probe", "train", str(imagenet)]
        command += [str(tmp_path / f"two {recipe}"), "--config", str(tmp_path / "run.toml")]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as run:
            try:
                _, errors = run.communicate(timeout=250)
            finally:  # torchrun's own processes too
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run.pid, signal.SIGKILL)
        assert run.returncode == 0, errors[-2000:]
        for name, tensor in load_file(tmp_path / f"two {recipe}" / "probe.safetensors").items():
            torch.testing.assert_close(tensor, alone[name], atol=1e-5, rtol=1e-3)
    untrained = load_file(train_probe(replace(common, seed=1), imagenet, tmp_path / "other"))
    assert not same(untrained, alone, atol=1e-5, rtol=1e-3)


def test_a_run_is_neither_overwritten_nor_continued_with_other_settings(
    settings: ProbeConfig, imagenet: Path, tmp_path: Path
) -> None:
    short = replace(settings, epochs=1, recipe="cheap")
    file = train_probe(short, imagenet, tmp_path)
    with pytest.raises(InvalidInput, match="already holds a run"):
        train_probe(short, imagenet, tmp_path)
    with pytest.raises(InvalidInput, match=r"other settings \(momentum\)"):
        train_probe(replace(short, momentum=0.5), imagenet, tmp_path, resume=True)
    first = Probe.load(file)
    train_probe(replace(short, save_every=99), imagenet, tmp_path, resume=True)  # nothing is left to do
    second = Probe.load(file)
    assert same(dict(first.head.state_dict()), dict(second.head.state_dict()))


def test_a_damaged_image_stops_the_run_with_its_name(settings: ProbeConfig, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "data" / name / f"{i}.png").write_bytes(b"no picture")
    with pytest.raises(InvalidInput, match=r"[ab]/\d\.png: the image is no image"):
        train_probe(replace(settings, recipe="cheap", batch_size=4), tmp_path / "data", tmp_path / "out")
