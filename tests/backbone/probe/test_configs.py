"""Every shipped configuration: the published recipe in its fields, and a dry run on a miniature ImageNet."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from polylens.backbone.probe import Classifier, ProbeConfig
from polylens.backbone.probe.config import CONFIGS
from polylens.backbone.probe.evaluate import evaluate_published, write_reports
from polylens.backbone.probe.layouts import PLACES
from polylens.backbone.probe.run import train_probe
from polylens.backbone.sizes import SIZES
from polylens.errors import InvalidInput

ROWS = sorted(path.stem for path in CONFIGS.glob("internvit-*.toml"))
RECIPE = {
    "recipe": "exact",
    "classes": 1000,
    "learning_rates": (0.1,),
    "epochs": 10,
    "warmup_epochs": 1.0,
    "batch_size": 1024,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "ema": 0.998,
    "crop_scale": (0.08, 1.0),
    "crop_ratio": (3 / 4, 4 / 3),
    "flip": True,
    "layers": (-1,),
}


def test_there_is_a_row_for_every_checkpoint_size_and_head() -> None:
    rows = {(c.model, c.image_size, c.head) for c in map(ProbeConfig.from_toml, ROWS)}
    vit, concat = "OpenGVLab/InternViT-6B-", "cls_patch_concat"
    assert rows == {
        (f"{vit}224px", 224, concat),
        (f"{vit}224px", 448, concat),
        (f"{vit}224px", 224, "attention_pooling"),
        ("OpenGVLab/InternVL-14B-224px", 224, "clip_projector"),
        *((f"{vit}448px-{version}", 448, concat) for version in ("V1-0", "V1-2", "V1-5", "V2_5")),
    }
    assert {model for model, _, head in rows if head == concat} <= set(SIZES)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_the_published_recipe(name: str) -> None:
    config = ProbeConfig.from_toml(name)
    assert {field: getattr(config, field) for field in RECIPE} == RECIPE
    text = (CONFIGS / f"{name}.toml").read_text()
    assert f"--config {name}\n" in text and tomllib.loads(text)["model"] == config.model
    assert ("ImageNet-1K 88.23 98.47" in text) == (name == "internvit-6b-224px")


@pytest.mark.parametrize("name", ROWS)
def test_a_row_runs_on_a_miniature_imagenet(name: str, model: Path, imagenet: Path, tmp_path: Path) -> None:
    row = ProbeConfig.from_toml(name, model=str(model))
    # 224 px is 28 here, and the backbone's own 56 px take the place of 448 px.
    small = replace(row, image_size=row.image_size // 8, classes=12, batch_size=24, epochs=2, ema=0.9)
    file = train_probe(small, imagenet, tmp_path / "out", known_as=row.model)
    classifier = Classifier.open(file, model, device="cpu")
    assert (classifier.probe.about.head, classifier.probe.about.image_size) == (row.head, small.image_size)
    meters = evaluate_published(classifier, imagenet)
    assert {set_: int(meter.summary()["images"]) for set_, meter in meters.items()} == {
        "imagenet1k": 36, "imagenet-real": 24, "imagenetv2": 24,
        "imagenet-a": 8, "imagenet-r": 8, "imagenet_sketch": 24,
    }  # fmt: skip
    assert len(meters["imagenet-a"].classes) == 4 and len(meters["imagenetv2"].classes) == 12
    if name == "internvit-6b-224px":
        reports = write_reports(meters, tmp_path / "reports", row.model)
        assert [report["title"] for report in reports] == [f"{row.model}, {set_}" for set_ in PLACES]
        assert all((tmp_path / "reports" / set_ / "report.json").is_file() for set_ in PLACES)


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nor one of the shipped ones: folder, internvit-6b"):
        ProbeConfig.from_toml("internvit-7b")
    for change, message in (
        ("recipe = 'quick'", "recipe is 'quick'; expected cheap or exact"),
        ("head = 'mlp'", "head must be one of"),
        ("epochs = 0", "epochs is 0; expected at least 1"),
        ("passes = -1", "passes is -1; expected at least 0"),
        ("ema = 1.0", "ema is 1.0; expected at least 0 and below 1"),
        ("learning_rates = []", "expected numbers above 0"),
        ("crop_scale = [1.0, 0.5]", "two numbers above 0, ascending"),
        ("rate = 1", "unknown settings rate"),
    ):
        (tmp_path / "run.toml").write_text(f"model = 'mini'\n{change}\n")
        with pytest.raises(InvalidInput, match=message):
            ProbeConfig.from_toml(tmp_path / "run.toml")
    (tmp_path / "weights").mkdir()
    (tmp_path / "run.toml").write_text("model = 'weights'\n")
    assert ProbeConfig.from_toml(tmp_path / "run.toml").model == str(tmp_path / "weights")
