"""Every layout of training data and evaluation sets, and what is said of those that do not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from polylens.backbone.probe.layouts import PLACES, open_data, open_evaluation
from polylens.errors import InvalidInput

from .conftest import CLASSES, SUBSET, fill, picture, write_tar


def test_train_and_val_folders(imagenet: Path) -> None:
    data = open_data(imagenet, classes=12)
    assert data.train.classes == data.validation.classes == tuple(CLASSES)
    assert len(data.train) == 72 and len(data.validation) == 36
    for row in range(len(data.validation)):
        assert data.validation.name(row).split("/")[0] == CLASSES[data.validation.labels_N[row]]
    with pytest.raises(InvalidInput, match="12 classes, expected 1000"):
        open_data(imagenet, classes=1000)


def test_one_folder_is_divided_class_by_class(tmp_path: Path) -> None:
    fill(tmp_path, ["0", "1"], 10, 0)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "only.png").write_bytes(picture(2, 0))
    data = open_data(tmp_path, validation=0.3, seed=1)
    assert np.bincount(data.train.labels_N).tolist() == [7, 7, 1]
    assert np.bincount(data.validation.labels_N).tolist() == [3, 3]
    names = [{part.name(row) for row in range(len(part))} for part in (data.train, data.validation)]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 21
    again, other = open_data(tmp_path, validation=0.3, seed=1), open_data(tmp_path, validation=0.3, seed=2)
    assert again.train.fingerprint() == data.train.fingerprint() != other.train.fingerprint()


def shards(root: Path, classes: list[str], told: str = "number") -> None:
    """train-00000.tar, train-00001.tar and val-00000.tar with a few images of each class."""
    for part, count in (("train-00000", 3), ("train-00001", 2), ("val-00000", 1)):
        samples = [
            (
                f"{name}_{i}",
                {"jpg": picture(label, i), "cls": (str(label) if told == "number" else name).encode()},
            )
            for label, name in enumerate(classes)
            for i in range(count)
        ]
        write_tar(root / f"{part}.tar", samples)


@pytest.mark.parametrize("told", ["number", "name"])
def test_webdataset_tars(told: str, tmp_path: Path) -> None:
    shards(tmp_path, CLASSES[:4], told)
    if told == "number":
        (tmp_path / "classes.txt").write_text("\n".join(CLASSES[:4]))
    data = open_data(tmp_path)
    assert data.train.classes == tuple(CLASSES[:4])
    assert np.bincount(data.train.labels_N).tolist() == [5] * 4 and len(data.validation) == 4
    for row in (0, 7, 19):
        assert data.train.name(row).split(":")[1].startswith(data.train.classes[data.train.labels_N[row]])
        assert data.train.image(row).size == (40, 32)


def test_folders_of_tars_as_other_tools_name_them(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        write_tar(
            tmp_path / part / "0.tar",
            [(f"s{i}", {"webp": picture(i % 3, i), "cls": str(i % 3).encode()}) for i in range(6)],
        )
    data = open_data(tmp_path)
    assert data.train.classes == ("0", "1", "2") and len(data.validation) == 6


def test_published_sets_have_the_labels_of_their_layout(imagenet: Path) -> None:
    found = {name: open_evaluation(imagenet / place, name, CLASSES) for name, place in PLACES.items()}
    counts = {name: len(one.samples) for name, one in found.items()}
    assert counts == {
        "imagenet1k": 36,
        "imagenet-real": 24,  # a third has no label
        "imagenetv2": 24,
        "imagenet-a": 8,
        "imagenet-r": 8,
        "imagenet_sketch": 24,
    }
    subset = tuple(CLASSES.index(name) for name in SUBSET)
    assert found["imagenet-a"].columns == found["imagenet-r"].columns == subset
    assert found["imagenet1k"].columns is None
    # Folder "10" of ImageNet-V2 is class 10, although "10" comes before "2".
    v2 = found["imagenetv2"]
    assert {(v2.samples.name(row).split("/")[0], int(label)) for row, label in enumerate(v2.labels)} == {
        (str(label), label) for label in range(12)
    }
    real = found["imagenet-real"]
    assert real.labels.shape == (24, 2)
    for row, labels in enumerate(real.labels.tolist()):
        own = CLASSES.index(real.samples.name(row).split("/")[0])
        assert labels == [own, (own + 1) % 12]


def test_sets_that_do_not_fit_say_why(imagenet: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="lacks 8 of the 12 classes: n00000012"):
        open_evaluation(imagenet / "imagenet-a", "imagenet_sketch", CLASSES)
    with pytest.raises(InvalidInput, match="1 classes that the probe does not know: n00000022"):
        open_evaluation(imagenet / "val", "imagenet1k", CLASSES[:-1])
    with pytest.raises(InvalidInput, match="layout must be one of folder, imagenet1k"):
        open_evaluation(imagenet / "val", "imagenet22k", CLASSES)
    thousand = [*CLASSES, *(f"m{number}" for number in range(988))]
    with pytest.raises(InvalidInput, match="has 4 of the 1000 classes; imagenet-a has 200"):
        open_evaluation(imagenet / "imagenet-a", "imagenet-a", thousand)
    with pytest.raises(InvalidInput, match="does not exist"):
        open_data(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="holds no class folders"):
        open_data(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(InvalidInput, match=r"classes without an image \(1\): a"):
        open_data(tmp_path)
    (tmp_path / "a" / "0.jpg").write_bytes(picture(0, 0))
    with pytest.raises(InvalidInput, match="no image is left for validation"):
        open_data(tmp_path)
    (tmp_path / "a" / "1.jpg").write_bytes(picture(0, 1))
    with pytest.raises(InvalidInput, match="a probe needs two or more"):
        open_data(tmp_path)
    shutil.copytree(imagenet / "train", tmp_path / "set" / "train")
    with pytest.raises(InvalidInput, match="none of val, validation, test"):
        open_data(tmp_path / "set")


def test_damaged_labels_say_where(imagenet: Path, tmp_path: Path) -> None:
    shutil.copytree(imagenet / "val", tmp_path / "val")
    for content, message in (
        (None, "cannot be read"),
        ("[[0], [12]]", "must be a list of lists of classes, 0 to 11"),
        (json.dumps([[0]] * 5), "expected ILSVRC2012_val_ and a number of 1 to 5"),
        (json.dumps([[]] * 36), "no label for any of the 36 images"),
    ):
        if content is not None:
            (tmp_path / "real.json").write_text(content)
        with pytest.raises(InvalidInput, match=message):
            open_evaluation(tmp_path / "val", "imagenet-real", CLASSES)


def test_damaged_tars_say_where(tmp_path: Path) -> None:
    (tmp_path / "train-0.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InvalidInput, match="cannot read train-0.tar"):
        open_data(tmp_path)
    write_tar(tmp_path / "train-0.tar", [("a", {"jpg": picture(0, 0)})])
    with pytest.raises(InvalidInput, match=r"without an image or without \.cls: a"):
        open_data(tmp_path)
    write_tar(tmp_path / "train-0.tar", [("a", {"jpg": picture(0, 0), "cls": b"7"})])
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(InvalidInput, match=r"names 2 classes, but \.cls says 7"):
        open_data(tmp_path)
