"""Zero-shot classification: clip_benchmark's own figures on the same model and pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polylens
import pytest
import torch
from polylens.clip.evaluation.classification import Labelled, evaluate_classification, metrics_of
from polylens.clip.evaluation.classifier import build_classifier
from polylens.clip.evaluation.items import Listed
from polylens.clip.evaluation.labelled import Choice, open_labelled
from polylens.clip.evaluation.prompts import (
    packaged_classes,
    packaged_templates,
    prompts_of,
    read_classes,
    read_templates,
)
from polylens.clip.evaluation.zero_shot import label_metrics
from polylens.errors import InvalidInput

clip_benchmark: Any = pytest.importorskip("clip_benchmark", reason="clip_benchmark is an extra")
builder: Any = pytest.importorskip("clip_benchmark.datasets.builder")
theirs: Any = pytest.importorskip("clip_benchmark.metrics.zeroshot_classification")

# clip_benchmark 1.6 calls float() on an array of one number, which numpy 2.4 no longer allows.
theirs.float = lambda value: np.asarray(value).item()

GOLDEN = Path(__file__).parents[2] / "golden" / "metrics"
TEMPLATES = ["{c}", "a drawing of a {c}", "the emoji {c}."]


class Reference:
    """`mini` as clip_benchmark wants a model: networks and a tokenizer, no Encoder."""

    def __init__(self, encoder: polylens.Encoder) -> None:
        self.encoder = encoder
        self.encode_image = encoder.model.embed_images
        self.encode_text = encoder.model.embed_texts

    def tokenizer(self, texts: list[str]) -> torch.Tensor:
        ids = [torch.from_numpy(self.encoder.prepare_text(text)) for text in texts]
        return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)

    def transform(self, image: Any) -> torch.Tensor:
        return torch.from_numpy(self.encoder.prepare_image(image))


@pytest.fixture(scope="module")
def reference(mini: polylens.Encoder) -> Reference:
    return Reference(mini)


def evaluated_by_them(reference: Reference, dataset: Any) -> dict[str, float]:
    loader = torch.utils.data.DataLoader(dataset, batch_size=7)
    return theirs.evaluate(
        reference, loader, reference.tokenizer, dataset.classes, dataset.templates, "cpu", amp=False
    )


def evaluated_by_us(mini: polylens.Encoder, name: str, root: Path, **options: Any) -> dict[str, float]:
    return evaluate_classification(mini, open_labelled(Choice(name=name, root=root, **options)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, layouts: Any) -> dict[str, Path]:
    """Own class names and templates in the JSON that clip_benchmark reads."""
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "classes.json").write_text(json.dumps({"imagenet1k-unverified": layouts.classes}))
    (folder / "templates.json").write_text(json.dumps({"imagenet1k": TEMPLATES}))
    return {"classes": folder / "classes.json", "templates": folder / "templates.json"}


def test_a_folder_is_classified_as_by_clip_benchmark(
    layouts: Any, mini: polylens.Encoder, reference: Reference, files: dict[str, Path], tmp_path: Path
) -> None:
    folders = {f"{number:02d}": what for number, what in enumerate(layouts.classes)}
    layouts.class_folders(tmp_path / "val", folders)
    dataset = builder.build_dataset(
        "imagenet1k-unverified",
        root=str(tmp_path),
        transform=reference.transform,
        custom_classname_file=str(files["classes"]),
        custom_template_file=str(files["templates"]),
    )
    expected = evaluated_by_them(reference, dataset)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(layouts.classes) + "\n")
    own = {"classes": names, "templates": files["templates"]}
    found = evaluated_by_us(mini, "folder", tmp_path / "val", **own)
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0.1 < found["acc1"] < found["acc5"] <= 1


@pytest.mark.parametrize("language", ["en", "cn", "jp", "ar", "it"])
def test_prompts_are_those_of_clip_benchmark(
    mini: polylens.Encoder, reference: Reference, language: str
) -> None:
    folder = Path(clip_benchmark.__file__).parent / "datasets"
    classes = json.loads((folder / f"{language}_classnames.json").read_text())["imagenet1k"]
    templates = json.loads((folder / f"{language}_zeroshot_classification_templates.json").read_text())
    tag = {"cn": "zh", "jp": "ja"}.get(language, language)
    assert list(packaged_classes("imagenet1k", tag)) == classes
    assert list(packaged_templates("imagenet1k", tag)) == templates["imagenet1k"]
    some, sentences = classes[:130:10], templates["imagenet1k"][:6]
    expected = theirs.zero_shot_classifier(reference, reference.tokenizer, some, sentences, "cpu", amp=False)
    found = build_classifier(mini, prompts_of(some, sentences))
    np.testing.assert_allclose(found, expected.T.numpy(), atol=1e-6)


def test_prompts_of_each_class_and_three_classes_are_the_golden_ones() -> None:
    arrays = {**np.load(GOLDEN / "inputs.npz"), **np.load(GOLDEN / "expected.npz")}
    expected = json.loads((GOLDEN / "expected.json").read_text())
    of_text = {
        template.format(c=name): arrays["cls_text_table"][row, column]
        for row, name in enumerate(expected["classification"]["classnames"])
        for column, template in enumerate(expected["classification"]["templates"])
    }

    class Table:
        dim, name, fingerprint = 16, "table", "0" * 64

        def encode_texts(self, texts: list[str]) -> np.ndarray:
            rows = np.array([of_text[text] for text in texts], np.float32)
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    classes = expected["classification"]["classnames"]
    cupl = build_classifier(Table(), prompts_of(classes, expected["cupl"]["templates"]))
    np.testing.assert_allclose(cupl.T, arrays["cls_classifier_cupl"], atol=1e-6)
    logits, targets = arrays["cls_logits"], arrays["cls_targets"]
    metrics = metrics_of(logits, targets.tolist(), "class")
    assert metrics == pytest.approx(expected["classification"]["metrics"], abs=1e-6)
    few = targets < 3
    three = label_metrics(logits[few][:, :3], targets[few])
    assert np.isnan(three["acc5"])
    assert three["acc1"] == expected["classification_three_classes"]["metrics"]["acc1"]
    ours = metrics_of(logits, list(arrays["cls_multilabel_targets"]), "each")
    assert ours["mean_average_precision"] == pytest.approx(arrays["cls_multilabel_ap"].mean(), abs=1e-6)


def test_classes_of_one_name_are_counted_as_by_clip_benchmark() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(200, 12)).astype(np.float32).round(1)  # full of equal scores
    targets = random.integers(0, 12, 200)
    expected = theirs.accuracy(torch.from_numpy(scores), torch.from_numpy(targets), topk=(1, 5))
    found = label_metrics(scores, targets)
    assert [found["acc1"], found["acc5"]] == pytest.approx(expected, abs=1e-6)


# Of the library that clip_benchmark opens tars with.
@pytest.mark.filterwarnings(
    "ignore:WebDataset", "ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_webdatasets_are_classified_as_by_clip_benchmark(
    layouts: Any, mini: polylens.Encoder, reference: Reference, tmp_path: Path
) -> None:
    samples = [
        {"png": layouts.encoded(what, number), "cls": str(number % 10).encode()}
        for number, what in enumerate(layouts.classes * 2)
    ]
    layouts.tars(tmp_path / "test", samples)
    (tmp_path / "classnames.txt").write_text("\n".join(layouts.classes))
    (tmp_path / "zeroshot_classification_templates.txt").write_text("\n".join(TEMPLATES))
    dataset = builder.build_dataset("wds/shapes", root=str(tmp_path), transform=reference.transform)
    loader = torch.utils.data.DataLoader(dataset.batched(7), batch_size=None)
    loader.dataset.classes = dataset.classes
    expected = theirs.evaluate(
        reference, loader, reference.tokenizer, dataset.classes, dataset.templates, "cpu", amp=False
    )
    assert evaluated_by_us(mini, "wds/shapes", tmp_path) == pytest.approx(expected, abs=1e-6)


def test_a_classifier_is_kept_by_model_and_prompts(mini: polylens.Encoder, tmp_path: Path) -> None:
    prompts = [["red circle", "a red circle"], ["blue square"]]
    first = build_classifier(mini, prompts, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    np.save(kept, -first)
    np.testing.assert_array_equal(build_classifier(mini, prompts, cache=tmp_path), -first)
    kept.write_bytes(b"damaged")
    np.testing.assert_allclose(build_classifier(mini, prompts, cache=tmp_path), first, atol=1e-6)
    build_classifier(mini, [["red circle"], ["blue square"]], cache=tmp_path)
    other = polylens.load("mini", device="cpu", preprocess="retrieval")
    build_classifier(other, prompts, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_files_of_names_and_templates(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("cat\n\n一只狗\n", "utf-8")
    (tmp_path / "lists.json").write_text(json.dumps({"pets": ["cat"], "imagenet1k": ["{c}"]}))
    (tmp_path / "classes.json").write_text(json.dumps({"cat": ["a cat", "the cat"], "dog": ["a dog"]}))
    assert read_classes(tmp_path / "lines.txt", "x") == ("cat", "一只狗")
    assert read_classes(tmp_path / "lists.json", "pets") == ("cat",)
    assert read_templates(tmp_path / "lists.json", "x") == ("{c}",)
    by_class = read_templates(tmp_path / "classes.json", "x")
    assert prompts_of(["dog", "cat"], by_class) == [["a dog"], ["a cat", "the cat"]]
    assert prompts_of(["猫"], ["{}的照片", "{c}。"]) == [["猫的照片", "猫。"]]
    for call, message in (
        (lambda: prompts_of(["bird"], by_class), "no prompts for the classes bird"),
        (lambda: prompts_of(["bird"], ["{name}"]), "braces other than"),
        (lambda: read_classes(tmp_path / "lists.json", "cars"), "expected class names"),
        (lambda: read_classes(tmp_path / "none.txt", "cars"), "cannot be read"),
        (lambda: packaged_templates("imagenet1k", "sw"), "no prompts in 'sw'"),
        (lambda: packaged_classes("mnist", "ja"), "no class names of mnist"),
    ):
        with pytest.raises(InvalidInput, match=message):
            call()


def test_what_does_not_fit_is_refused(mini: polylens.Encoder, layouts: Any, tmp_path: Path) -> None:
    layouts.class_folders(tmp_path / "own", {"a": "red circle", "b": "blue circle"}, 1)
    (tmp_path / "names.txt").write_text("a\n")
    for choice, message in (
        (Choice(name="folder", root=tmp_path / "missing"), "does not exist"),
        (Choice(name="folder", root=tmp_path / "own", classes=tmp_path / "names.txt"), "2 classes, got 1"),
        (Choice(name="imagenet1k", root=tmp_path / "own"), "classes that the probe does not know"),
        (Choice(name="nonsense", root=tmp_path), "Unsupported dataset: nonsense"),
        (Choice(name="cifar10", root=tmp_path), "cannot open cifar10"),
    ):
        with pytest.raises(InvalidInput, match=message):
            open_labelled(choice)
    data = Labelled(Listed([layouts.picture("red circle", 1)], [3]), ("a", "b"), ["{}"])
    with pytest.raises(InvalidInput, match="labels go up to 3, there are 2 classes"):
        evaluate_classification(mini, data)
