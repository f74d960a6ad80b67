"""Every layout of pictures from its files to the figures in the command's JSON, counted again from vectors.

The pictures are labelled so that the figures lie between none and all: of four, one bears the class that the
model likes best, one that which it likes third, and two any. A wrong order of classes, captions or pictures
gives other figures, which is tried as well.
"""

import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polylens
import pytest

from .command import result_of
from .layouts import Layouts, Written, imagenet_name
from .naive import accuracies, recalls

pytest.importorskip("clip_benchmark", reason="clip_benchmark is an extra")
builder: Any = pytest.importorskip("clip_benchmark.datasets.builder")

PICTURES = 24
SENTENCES = {"en": ["a drawing of a {c}"], "zh": ["{c}的图片"]}
OWN_SENTENCES = ["the emoji {c}.", "{c}"]  # of the webdataset
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
OBJECTS = {
    "axe_folder": "Axe",
    "chair": "Red Chair",
    "ball": "Blue ball",
    "box": "Yellow box",
    "cup": "Cup",
    "leaf": "Green leaf",
}


class Pool:
    """Pictures to be filed under the labels of a layout, and what the model makes of texts."""

    def __init__(self, layouts: Layouts, encoder: polylens.Encoder, root: Path) -> None:
        self.layouts, self.encoder, self.root = layouts, encoder, root
        self.files = [root / f"{row}.jpg" for row in range(PICTURES)]
        for row, file in enumerate(self.files):
            layouts.save(file, layouts.classes[row % len(layouts.classes)], row)
        self.vectors = encoder.encode_images(self.files)
        self.kept: dict[str, np.ndarray] = {}
        self.sentences = {language: root / f"{language}.txt" for language in SENTENCES}
        for language, file in self.sentences.items():
            file.write_text("\n".join(SENTENCES[language]), "utf-8")

    def classifier(self, names: Sequence[str], sentences: Sequence[str]) -> np.ndarray:
        """(C, D) float64: of each class the direction of the mean of its texts' vectors."""
        key = json.dumps([names, sentences])
        if key not in self.kept:
            texts = [
                sentence.replace("{c}", name).replace("{}", name) for name in names for sentence in sentences
            ]
            means = (
                self.encoder.encode_texts(texts).reshape(len(names), len(sentences), -1).mean(1, np.float64)
            )
            self.kept[key] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return self.kept[key]

    def file(self, root: Path, labels: Sequence[int], folder_of: Callable[[int], str]) -> None:
        """root/FOLDER/IMAGE of every picture."""
        for row, (picture, label) in enumerate(zip(self.files, labels, strict=True)):
            path = root / folder_of(label) / imagenet_name(row + 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, path)


@pytest.fixture(scope="module")
def pool(layouts: Layouts, mini: polylens.Encoder, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return Pool(layouts, mini, tmp_path_factory.mktemp("pool"))


def packaged(kind: str, language: str) -> list[str]:
    """clip_benchmark's own class names or sentences of ImageNet."""
    tag = {"zh": "cn"}.get(language, language)
    path = Path(builder.__file__).with_name(f"{tag}_{kind}.json")
    names: list[str] = json.loads(path.read_text("utf-8"))["imagenet1k"]
    return names


def spread(scores_NC: np.ndarray) -> np.ndarray:
    """(N,) labels: of four pictures the class of the best score, any, that of the third, any; all occur."""
    order_NC = np.argsort(-scores_NC, axis=1)
    labels_N = np.arange(len(scores_NC)) // 2 * 7 % scores_NC.shape[1]
    labels_N[::4], labels_N[2::4] = order_NC[::4, 0], order_NC[2::4, 2]
    return labels_N


def compared(content: dict[str, Any], scores_NC: np.ndarray, labels: Sequence[Sequence[int]]) -> None:
    """The figures are those of the scores and labels, not those of labels one class or picture further."""
    expected = accuracies(scores_NC, labels)
    assert content["metrics"] == pytest.approx(expected, abs=1e-9)
    assert 0 < expected["acc1"] < expected["acc5"] < 1
    further = [[(label + 1) % scores_NC.shape[1] for label in own] for own in labels]
    assert accuracies(scores_NC, further) != pytest.approx(expected, abs=1e-3)
    assert accuracies(np.roll(scores_NC, 1, axis=0), labels) != pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("dataset", "language", "folder"),
    [
        ("imagenet1k", "en", "val/{wnid}"),
        ("imagenet1k", "zh", "{wnid}"),
        ("imagenet_sketch", "en", "sketch/{wnid}"),
        ("imagenetv2", "en", "imagenetv2-matched-frequency-format-val/{label}"),
    ],
)
def test_imagenet_and_its_shifted_sets(
    pool: Pool, tmp_path: Path, dataset: str, language: str, folder: str
) -> None:
    scores_NC = pool.vectors @ pool.classifier(packaged("classnames", language), SENTENCES[language]).T
    labels_N, wnids = spread(scores_NC), sorted(builder.all_imagenet_wordnet_ids)
    pool.file(tmp_path / "data", labels_N, lambda label: folder.format(wnid=wnids[label], label=label))
    options = ("--language", language, "--templates", pool.sentences[language])
    content = classified(tmp_path, pool, dataset, *options)
    compared(content, scores_NC, labels_N[:, None].tolist())


def classified(tmp_path: Path, pool: Pool, dataset: str, *options: object) -> dict[str, Any]:
    """The result of the command on the data set in tmp_path/data."""
    command = ("classification", "--dataset", dataset, "--data", tmp_path / "data", *options)
    content = result_of(tmp_path / "out", *command, XDG_CACHE_HOME=str(pool.root / "cache"))
    assert (content["dataset"], content["task"]) == (dataset, "zeroshot_classification")
    return content


@pytest.mark.parametrize("dataset", ["imagenet-a", "imagenet-r", "imagenet-o"])
def test_subsets_answer_their_own_classes_alone(pool: Pool, tmp_path: Path, dataset: str) -> None:
    wnids, names = sorted(builder.all_imagenet_wordnet_ids)[3::140], packaged("classnames", "en")[3::140]
    scores_NC = pool.vectors @ pool.classifier(names, SENTENCES["en"]).T
    labels_N = spread(scores_NC)
    pool.file(tmp_path / "data" / dataset, labels_N, lambda label: wnids[label])
    content = classified(tmp_path, pool, dataset, "--templates", pool.sentences["en"])
    compared(content, scores_NC, labels_N[:, None].tolist())


def test_real_counts_any_of_its_labels_and_leaves_pictures_out(pool: Pool, tmp_path: Path) -> None:
    scores_NC = pool.vectors @ pool.classifier(packaged("classnames", "en"), SENTENCES["en"]).T
    labels_N, wnids = spread(scores_NC), sorted(builder.all_imagenet_wordnet_ids)
    # The folders tell something else; one picture in five has no label, one in three has two.
    real = [
        [] if row % 5 == 4 else [int(label), (int(label) + 500) % 1000][: 1 + (row % 3 == 0)]
        for row, label in enumerate(labels_N)
    ]
    pool.file(tmp_path / "data" / "val", (labels_N + 1) % 1000, lambda label: wnids[label])
    (tmp_path / "data" / "real.json").write_text(json.dumps(real))
    content = classified(tmp_path, pool, "imagenet-real", "--templates", pool.sentences["en"])
    rows = [row for row, own in enumerate(real) if own]
    compared(content, scores_NC[rows], [real[row] for row in rows])


def test_objectnet_by_its_folders(pool: Pool, tmp_path: Path) -> None:
    folders = sorted(OBJECTS)  # the order of its labels
    names = [OBJECTS[folder].lower() for folder in folders]
    scores_NC = pool.vectors @ pool.classifier(names, packaged("zeroshot_classification_templates", "en")).T
    labels_N = spread(scores_NC)
    images = tmp_path / "data" / "objectnet-1.0" / "images"
    pool.file(images, labels_N, lambda label: folders[label])
    pool.file(images, [0] * PICTURES, lambda _: "zebra")  # no class of ImageNet: left out
    pool.layouts.objectnet(tmp_path / "data", OBJECTS)
    compared(classified(tmp_path, pool, "objectnet"), scores_NC, labels_N[:, None].tolist())


def test_plain_class_folders(pool: Pool, tmp_path: Path) -> None:
    names = sorted(pool.layouts.classes)[:6]
    scores_NC = pool.vectors @ pool.classifier(names, packaged("zeroshot_classification_templates", "en")).T
    labels_N = spread(scores_NC)
    pool.file(tmp_path / "data", labels_N, lambda label: names[label].replace(" ", "_"))
    compared(classified(tmp_path, pool, "folder"), scores_NC, labels_N[:, None].tolist())


def test_webdataset_tars(pool: Pool, tmp_path: Path) -> None:
    names = pool.layouts.classes
    scores_NC = pool.vectors @ pool.classifier(names, OWN_SENTENCES).T
    labels_N, data = spread(scores_NC), tmp_path / "data"
    samples = [
        {"jpg": file.read_bytes(), "cls": str(label).encode()}
        for file, label in zip(pool.files, labels_N, strict=True)
    ]
    pool.layouts.tars(data / "test", samples)
    (data / "classnames.txt").write_text("\n".join(names))
    (data / "zeroshot_classification_templates.txt").write_text("\n".join(OWN_SENTENCES))
    compared(classified(tmp_path, pool, "wds/shapes"), scores_NC, labels_N[:, None].tolist())


def test_data_sets_of_clip_benchmarks_builder(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CIFAR-10's own files; their checksums are of the real ones."""
    every = json.loads(
        Path(builder.__file__).with_name("en_zeroshot_classification_templates.json").read_text()
    )
    pictures = [
        pool.layouts.picture(what, row).resize((32, 32)) for row, what in enumerate(pool.layouts.classes * 2)
    ]
    scores_NC = pool.encoder.encode_images(pictures) @ pool.classifier(CIFAR, every["cifar10"]).T
    labels_N, folder = spread(scores_NC), tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rows = np.stack([np.asarray(picture).transpose(2, 0, 1).reshape(-1) for picture in pictures])
    (folder / "test_batch").write_bytes(pickle.dumps({"data": rows, "labels": labels_N.tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CIFAR}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    compared(classified(tmp_path, pool, "cifar10"), scores_NC, labels_N[:, None].tolist())


def flickr_in_both(layouts: Layouts, root: Path) -> Written:
    layouts.flickr(root, "flickr30k_test_karpathy.txt")
    return layouts.flickr(root, "flickr30k_test_zh.txt", "zh")


def coco_in_both(layouts: Layouts, root: Path) -> Written:
    layouts.coco(root, "coco_test_karpathy.json", "train2014")
    return layouts.coco(root, "coco-cn_test.json", "train2014", "zh", path_in_names=True)


def xtd_in(language: str) -> Callable[[Layouts, Path], Written]:
    files = {"test_1kcaptions_jp.txt": "ja", "test_1kcaptions_ko.txt": "ko"}
    return lambda layouts, root: layouts.xtd(root, files)[language]


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("mscoco_captions", lambda files, root: files.coco(root, "coco_test_karpathy.json", "val2014")),
        ("mscoco_captions --language zh", coco_in_both),
        (
            "nocaps --split val",
            lambda files, root: files.coco(root, "nocaps_val_4500_captions.json", "validation"),
        ),
        ("flickr30k", lambda files, root: files.flickr(root, "flickr30k_test_karpathy.txt")),
        ("flickr30k --language zh", flickr_in_both),
        ("flickr8k", lambda files, root: files.flickr(root, "flickr8k_test_karpathy.txt")),
        ("xtd10 --language ja", xtd_in("ja")),
        ("xtd10 --language ko", xtd_in("ko")),
        (
            "multilingual_mscoco_captions --language ko",
            lambda files, root: files.xtd_json(root, "multilingual_mscoco_captions-ko.json", "ko"),
        ),
        ("wds/shapes", lambda files, root: files.caption_tars(root)),
        ("folder", lambda files, root: files.mapping(root)),
        ("folder", lambda files, root: files.texts(root)),
    ],
)
def test_captions(
    layouts: Layouts, tmp_path: Path, asked: str, written: Callable[[Layouts, Path], Written]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    captions = written(layouts, data)
    command = ("retrieval", "--dataset", *asked.split(), "--data", data)
    content = result_of(tmp_path / "out", *command)
    assert content["dataset"] == asked.split()[0]
    encoder = polylens.load("mini", preprocess="retrieval")
    images_ND = encoder.encode_images(list(captions)).astype(np.float64)
    texts_TD = encoder.encode_texts([text for own in captions.values() for text in own])
    image_of_T = np.repeat(np.arange(len(captions)), [len(own) for own in captions.values()])
    expected = recalls(texts_TD @ images_ND.T, image_of_T)
    assert content["metrics"] == pytest.approx(expected, abs=1e-9)
    assert 0 < expected["image_retrieval_recall@1"] < expected["image_retrieval_recall@5"]
    further = recalls(texts_TD @ images_ND.T, np.roll(image_of_T, len(texts_TD) // len(images_ND)))
    assert further != pytest.approx(expected, abs=1e-3)
