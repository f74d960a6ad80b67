"""Locked-image tuning: the text tower learns, the image tower's weights do not move."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from polylens.clip.internvl_c import InternVLC
from polylens.clip.tokenizer import Tokenizer
from polylens.clip.training import run as run_module
from polylens.clip.training.batches import BatchMaker
from polylens.clip.training.config import TrainConfig
from polylens.clip.training.data import load_pairs
from polylens.clip.training.learner import Learner
from polylens.clip.training.locked import RIDGE, discriminants
from polylens.clip.training.run import train
from polylens.errors import InvalidInput
from safetensors.torch import load_file

from .killed import killed_at

IMAGE = ("vision_model.", "clip_projector.")


def settings(files: Path, **changes: object) -> TrainConfig:
    config = TrainConfig.from_toml(files / "train.toml", save_every=20)
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(training_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose image tower has learned the squares."""
    config = settings(training_files, steps=60, learning_rate=3e-3)
    return train(config, tmp_path_factory.mktemp("trained"))


def locked(files: Path, model: Path, **changes: object) -> TrainConfig:
    """A run that must learn other words for the squares."""
    config = settings(
        files, model=str(model), lock_image=True, proxies=1.0, contrast=0.0, steps=60, learning_rate=3e-3
    )
    pairs, texts = str(files / "images.parquet"), str(files / "texts.parquet")
    return dataclasses.replace(config, pairs=(pairs,), texts=texts, name_share=0.0, **changes)  # type: ignore[arg-type]


def right(folder: Path, config: TrainConfig) -> int:
    """How many of the eight new texts find their square."""
    model = InternVLC.from_pretrained(folder, dtype=torch.float32, device="cpu")
    shown = dataclasses.replace(config, lock_image=False)
    pairs = load_pairs(config.pairs, config.texts)
    batch = BatchMaker(shown, pairs, Tokenizer.from_pretrained(folder), 28, 0, 1).make(0)[0]
    with torch.inference_mode():
        image, text = model(batch.pixels_BCHW, batch.ids_ML)
    nearest = (F.normalize(text, dim=1) @ F.normalize(image, dim=1).T).argmax(1)
    return int((batch.image_group_B[nearest] == batch.text_group_M).sum())


def test_only_texts_are_learned(training_files: Path, trained: Path, tmp_path: Path) -> None:
    config = locked(training_files, trained)
    before, after = load_file(trained / "model.safetensors"), train(config, tmp_path)
    weights = load_file(after / "model.safetensors")
    moved = {name for name, weight in weights.items() if not torch.equal(weight, before[name])}
    assert not [name for name in moved if name.startswith(IMAGE)]
    assert "text_projection" in moved and len(moved) > 10  # the control: the rest did move
    assert right(after, config) == 8


def test_texts_come_to_the_place_itself(training_files: Path, trained: Path, tmp_path: Path) -> None:
    """The control is a run without `proxy_distance`: its texts are told apart, yet farther away."""

    def nearness(config: TrainConfig, out: Path) -> float:
        train(config, out)
        rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        return float(rows[-1]["distance"])

    near = nearness(locked(training_files, trained, proxy_distance=5.0), tmp_path / "near")
    apart = nearness(locked(training_files, trained), tmp_path / "apart")
    assert near < 0.01 and apart > 10 * near


def test_discriminants_are_fishers(training_files: Path, trained: Path) -> None:
    """Two views of one square differ only by augmentation, and the answer is that of the textbook."""
    config = locked(training_files, trained, augment=True)
    pairs = load_pairs(config.pairs, config.texts)
    subject = Learner(run_module.make_model(trained), config, 8)
    encoded: list[torch.Tensor] = []
    hook = subject.model.clip_projector.register_forward_hook(lambda _, __, out: encoded.append(out.detach()))
    found = discriminants(subject, pairs, config, 28)
    hook.remove()
    views_VGD = F.normalize(torch.stack(encoded), dim=2).double().numpy()
    assert views_VGD.shape == (2, 8, 32) and not np.allclose(views_VGD[0], views_VGD[1])
    mean_GD = views_VGD.mean(0)
    within = np.mean([np.outer(d, d) for d in (views_VGD - mean_GD).reshape(-1, 32)], axis=0)
    within += RIDGE * views_VGD.reshape(-1, 32).var(0).mean() * np.eye(32)
    expected = (mean_GD - mean_GD.mean(0)) @ np.linalg.inv(within)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    assert not np.allclose(expected, mean_GD, atol=0.1)  # the control: the means are something else


def test_it_resumes_to_the_same_weights(training_files: Path, trained: Path, tmp_path: Path) -> None:
    config = locked(training_files, trained, steps=6, save_every=3)
    unbroken = load_file(train(config, tmp_path / "unbroken") / "model.safetensors")

    with killed_at(4):  # the checkpoint of step 3 is on disk
        train(config, tmp_path / "killed")
    resumed = load_file(train(config, tmp_path / "killed", resume=True) / "model.safetensors")
    assert all(torch.equal(resumed[name], weight) for name, weight in unbroken.items())
    other = load_file(train(dataclasses.replace(config, seed=4), tmp_path / "other") / "model.safetensors")
    assert not torch.equal(other["text_projection"], unbroken["text_projection"])  # the control


def test_what_makes_no_sense_is_refused(training_files: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no image is encoded in a step; set contrast, bag_steps to 0"):
        settings(training_files, lock_image=True, proxies=1.0, bag_steps=3)
    with pytest.raises(InvalidInput, match="lock_image needs proxies"):
        settings(training_files, lock_image=True, contrast=0.0)
    with pytest.raises(InvalidInput, match=r"proxy_distance is 1.0, but proxies move"):
        settings(training_files, proxies=1.0, proxy_distance=1.0)
    with pytest.raises(InvalidInput, match=r"keeps a trained tower; config.json has no weights"):
        train(settings(training_files, lock_image=True, contrast=0.0, proxies=1.0), tmp_path)
