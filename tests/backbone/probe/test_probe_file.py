"""A trained probe's file: strict, small, and only with the backbone it was trained on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from polylens.backbone.errors import BadCheckpoint
from polylens.backbone.probe.frozen import Frozen, freeze
from polylens.backbone.probe.heads import HEADS, Head
from polylens.backbone.probe.probe import FORMAT, Classifier, Probe, describe
from polylens.errors import InvalidInput
from safetensors.torch import load_file, save_file

from .conftest import picture

NAMES = ("猫", "dog", "cow")


def fresh(model: Path, kind: str) -> tuple[Probe, Frozen]:
    frozen = freeze(model, kind, (2,), image_size=28, device="cpu")
    head = Head(kind, frozen.width, 3, frozen.vit.config.num_attention_heads)
    head.init_weights(torch.Generator().manual_seed(0))
    return Probe(head.eval(), describe(frozen, 2, NAMES, "tiny", {"epochs": 3})), frozen


@pytest.mark.parametrize("kind", HEADS)
def test_what_is_saved_is_loaded(kind: str, model: Path, tmp_path: Path) -> None:
    probe, frozen = fresh(model, kind)
    probe.save(tmp_path / "probe.safetensors")
    again = Probe.load(tmp_path / "probe.safetensors")
    assert again.about == probe.about and again.classes == NAMES
    features = frozen.features(torch.randn(2, 3, 28, 28))[:, 0]
    assert torch.equal(again.head(features), probe.head(features))
    classifier = Classifier.open(tmp_path / "probe.safetensors", model, device="cpu")
    rankings = list(classifier.predict([picture(i, 0) for i in range(3)], batch_size=2))
    assert [len(ranking) for ranking in rankings] == [3, 3, 3]
    for ranking in rankings:
        assert {name for name, _ in ranking} == set(NAMES)
        assert [share for _, share in ranking] == sorted((share for _, share in ranking), reverse=True)


def test_another_backbone_is_refused(model: Path) -> None:
    probe, frozen = fresh(model, "cls_patch_concat")
    Classifier(probe, frozen)
    with pytest.raises(InvalidInput, match="trained on another backbone"):
        Classifier(probe, freeze(model, "cls_patch_concat", (2,), image_size=56, device="cpu"))
    with pytest.raises(InvalidInput, match="trained on another backbone"):
        Classifier(probe, replace(frozen, fingerprint="0" * 64))


def test_files_that_are_no_probe_say_so(model: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "probe.safetensors", tmp_path / "other.safetensors"
    probe, _ = fresh(model, "cls_patch_concat")
    probe.save(file)
    tensors = load_file(file)
    about = {"classes": NAMES, "head": "cls_patch_concat", "width": 128, "num_heads": 4, "layer": 2,
             "image_size": 28, "patch_size": 14, "model": "tiny", "fingerprint": ""}  # fmt: skip

    def refused(content: dict[str, torch.Tensor], metadata: dict[str, str] | None, message: str) -> None:
        save_file(content, other, metadata=metadata)
        with pytest.raises(BadCheckpoint, match=message):
            Probe.load(other)

    good = {"format": FORMAT, "probe": json.dumps(about)}
    save_file(tensors, other, metadata=good)
    assert Probe.load(other).classes == NAMES  # the control
    refused(tensors, None, "its format is None")
    refused(tensors, {**good, "probe": "{}"}, "does not describe its probe")
    refused({k: v for k, v in tensors.items() if k != "head.bias"}, good, "head.bias")
    four = {**good, "probe": json.dumps({**about, "classes": [*NAMES, "owl"]})}
    refused(tensors, four, "head.weight")
    other.write_bytes(b"nothing")
    with pytest.raises(BadCheckpoint, match="is not a readable probe"):
        Probe.load(other)
