"""`polylens probe`, command by command, on a miniature data set and the tiny backbone."""

import json
from pathlib import Path

import pytest
import torch
from polylens.backbone.probe.layouts import PLACES
from polylens.backbone.probe.probe import Probe
from polylens.cli import app
from typer.testing import CliRunner

from .conftest import CLASSES, MODEL


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["probe", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def trained(imagenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the documented command with its default recipe."""
    out = tmp_path_factory.mktemp("run") / "out"
    shown = run(
        "train", imagenet, out, "--model", MODEL, "--image-size", 28, "--features", out.parent / "kept"
    )
    assert "validation" in shown and shown.endswith(f"probe: {out / 'probe.safetensors'}\n")
    return out


def test_train_keeps_the_best_of_the_grid(trained: Path) -> None:
    figures = json.loads((trained / "candidates.json").read_text())
    assert len(figures) == 10  # two layers, five rates
    report = json.loads((trained / "validation" / "report.json").read_text())
    assert report["metrics"]["acc1"] == max(row["acc1"] for row in figures) > 0.3


def test_predict_tells_classes_as_text_and_as_json(trained: Path, imagenet: Path) -> None:
    images = sorted((imagenet / "val").rglob("*.JPEG"))[:3]
    file = trained / "probe.safetensors"
    lines = run("predict", file, *images, "--top", 2).splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(image) for image in images]
    rows = [json.loads(line) for line in run("predict", file, *images, "--top", 12, "--json").splitlines()]
    for row, line in zip(rows, lines, strict=True):
        best = next(iter(row["classes"]))
        assert line.split("\t")[1].startswith(best) and set(row["classes"]) == set(CLASSES)
        assert sum(row["classes"].values()) == pytest.approx(1, abs=1e-5)


def test_evaluate_all_published_sets(trained: Path, imagenet: Path, tmp_path: Path) -> None:
    file = trained / "probe.safetensors"
    shown = run("evaluate", file, imagenet, "--layout", "published", "--out", tmp_path)
    assert [line.split()[0] for line in shown.splitlines()[1:]] == list(PLACES)
    assert (tmp_path / "imagenet-a" / "confusion.png").is_file()
    one = run("evaluate", file, imagenet / "val")
    assert one.splitlines()[1].split()[1:] == shown.splitlines()[1].split()[1:]
    result = CliRunner().invoke(app, ["probe", "evaluate", str(file), str(trained), "--layout", "published"])
    assert "holds none of the published evaluation sets: val, imagenetv2" in str(result.exception)


def test_features_are_kept_for_probes_without_training(imagenet: Path, model: Path, tmp_path: Path) -> None:
    common = ("--model", model, "--image-size", 28)
    kept = tmp_path / "kept"
    shown = run("features", imagenet, kept, *common, "--passes", 0)
    assert "72 images, 1 passes" in shown and "36 images" in shown
    written = {path: path.stat().st_mtime_ns for path in kept.rglob("*.npy")}
    neighbours = run("knn", imagenet, "-k", "1,3", *common, "--features", kept)
    assert [line.split("  ")[0] for line in neighbours.splitlines()[1:]] == [
        f"layer {layer}, k {k}" for layer in (2, 3) for k in (1, 3)
    ]
    fitted = run("logistic", imagenet, tmp_path / "fit", *common, "--features", kept, "--layers=-1")
    assert fitted.splitlines()[1].startswith("layer 3, penalty ")
    assert Probe.load(tmp_path / "fit" / "probe.safetensors").about.layer == 3
    few = run("fewshot", imagenet, "--shots", "1,4", "--trials", 2, *common, "--features", kept)
    assert [line.split()[:2] for line in few.splitlines()[1:]] == [
        [str(layer), str(shots)] for layer in (2, 3) for shots in (1, 4)
    ]
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_convert_there_and_back(trained: Path, model: Path, tmp_path: Path) -> None:
    head, back, names = (tmp_path / name for name in ("head.pth", "probe.safetensors", "names.txt"))
    names.write_text("\n".join(CLASSES))
    run("convert", trained / "probe.safetensors", head)
    state = torch.load(head, weights_only=True)["model"]
    assert {"norm.running_mean", "head.weight", "head.bias"} <= set(state)
    run("convert", head, back, "--model", model, "--classes", names, "--image-size", 28)
    first, second = Probe.load(trained / "probe.safetensors"), Probe.load(back)
    assert all(
        torch.equal(tensor, second.head.state_dict()[name])
        for name, tensor in first.head.state_dict().items()
    )
    assert second.classes == first.classes
    result = CliRunner().invoke(app, ["probe", "convert", str(head), str(back)])
    assert result.exit_code == 2 and "needs --model and --classes" in result.output
