"""Retrieval: clip_benchmark's own figures on the same vectors, ranks in any tiles, forms of files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from polylens.clip.evaluation import ranks
from polylens.clip.evaluation.captioned import open_captioned, read_captions
from polylens.clip.evaluation.image_text import two_way_recall
from polylens.clip.evaluation.ranks import pair_ranks
from polylens.errors import InvalidInput

GOLDEN = Path(__file__).parents[2] / "golden" / "metrics"


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Plain:
    """A model whose pixels and ids are the vectors themselves, for clip_benchmark and for nobody else."""

    @staticmethod
    def encode_image(pixels: torch.Tensor) -> torch.Tensor:
        return pixels

    encode_text = encode_image


@pytest.mark.parametrize("seed", [0, 1])
def test_recall_is_clip_benchmarks(seed: int) -> None:
    theirs: Any = pytest.importorskip("clip_benchmark.metrics.zeroshot_retrieval")
    random = np.random.default_rng(seed)
    images = unit(random.normal(size=(60, 8)).astype(np.float32))
    counts = random.integers(1, 6, 60)
    image_of = np.repeat(np.arange(60), counts)
    texts = unit((images[image_of] + random.normal(size=(len(image_of), 8)) * 0.6).astype(np.float32))
    captions = np.split(np.arange(len(texts)), np.cumsum(counts)[:-1])
    batches = [
        (torch.from_numpy(images[rows]), [captions[row].tolist() for row in rows])
        for rows in np.array_split(np.arange(60), 7)
    ]
    expected = theirs.evaluate(
        Plain, batches, lambda rows: torch.from_numpy(texts[rows]), "cpu", amp=False, recall_k_list=[1, 5, 10]
    )
    found = two_way_recall(images, texts, image_of, (1, 5, 10))
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0.1 < found["image_retrieval_recall@1"] < found["text_retrieval_recall@10"] < 1


def test_recall_is_the_golden_one() -> None:
    arrays = np.load(GOLDEN / "inputs.npz")
    expected = json.loads((GOLDEN / "expected.json").read_text())["retrieval"]["metrics"]
    images, texts = unit(arrays["ret_image_embeddings"]), unit(arrays["ret_text_embeddings"])
    found = two_way_recall(images, texts, arrays["ret_text_to_image"].astype(np.int64), (1, 2, 5, 10))
    assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-6)


@pytest.mark.parametrize("block", [1, 50, 2**24])
def test_ranks_are_those_of_the_whole_matrix_in_any_tiles(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(ranks, "MAX_BLOCK", block)
    random = np.random.default_rng(3)
    rows, columns = random.normal(size=(23, 5)), random.normal(size=(41, 5))
    pairs = np.stack([random.integers(0, 23, 60), random.integers(0, 41, 60)], axis=1)
    scores = rows @ columns.T
    mine = np.zeros(scores.shape, bool)
    mine[pairs[:, 0], pairs[:, 1]] = True
    best = np.where(mine, scores, -np.inf)
    others = np.where(mine, -np.inf, scores)
    of_row, of_column = pair_ranks(rows, columns, pairs)
    np.testing.assert_array_equal(of_row, (others >= best.max(1, keepdims=True)).sum(1))
    np.testing.assert_array_equal(of_column, (others >= best.max(0, keepdims=True)).sum(0))


def test_equal_pictures_count_against_the_model() -> None:
    same = np.ones((600, 3), np.float32)  # more than a byte counts
    pairs = np.stack([np.arange(600)] * 2, axis=1)
    assert [ranks.tolist() for ranks in pair_ranks(same, same, pairs)] == [[599] * 600, [599] * 600]


@pytest.mark.parametrize("name", ["mscoco_captions", "flickr30k"])
def test_the_order_and_captions_are_clip_benchmarks(layouts: Any, tmp_path: Path, name: str) -> None:
    builder: Any = pytest.importorskip("clip_benchmark.datasets.builder")
    layouts.coco(tmp_path, "coco_test_karpathy.json", "val2014")
    layouts.flickr(tmp_path, "flickr30k_test_karpathy.txt")
    theirs = builder.build_dataset(name, root=str(tmp_path), task="zeroshot_retrieval")
    ours = open_captioned(name, tmp_path).items
    assert [captions for _, captions in ours.rows(0, 1)] == [theirs[row][1] for row in range(len(theirs))]


def test_forms_of_caption_files(tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("a.jpg#0\tone, two\na.jpg#1\tthree\nb.png|四，五\n", "utf-8")
    (tmp_path / "c.csv").write_text('image,caption\na.jpg,"one, two"\n')
    (tmp_path / "c.jsonl").write_text('{"image": "a.jpg", "caption": "one"}\n')
    (tmp_path / "x.json").write_text('{"image_paths": ["a.jpg", "b.jpg"], "annotations": ["one", "two"]}')
    assert read_captions(tmp_path / "token.txt") == {"a.jpg": ["one, two", "three"], "b.png": ["四，五"]}
    assert read_captions(tmp_path / "c.csv") == {"a.jpg": ["one, two"]}
    assert read_captions(tmp_path / "c.jsonl") == {"a.jpg": ["one"]}
    assert read_captions(tmp_path / "x.json") == {"a.jpg": ["one"], "b.jpg": ["two"]}


def test_what_is_missing_is_said(layouts: Any, tmp_path: Path) -> None:
    layouts.flickr(tmp_path, "flickr30k_test_karpathy.txt")
    (tmp_path / "bad.txt").write_text("image,caption\na.jpg,one\nno picture here\n")
    (tmp_path / "lost.csv").write_text("lost.jpg,one\n")
    (tmp_path / "bad.json").write_text("{}")
    for options, message in (
        ({"name": "flickr30k", "language": "zh"}, "looked for flickr30k_test_zh.txt"),
        ({"name": "nonsense"}, "no captions are known of 'nonsense'"),
        ({"name": "folder"}, "has no captions: expected one of captions.json"),
        ({"name": "folder", "captions": tmp_path / "bad.txt"}, "line 3: expected PICTURE.jpg,CAPTION"),
        ({"name": "folder", "captions": tmp_path / "lost.csv"}, "the picture lost.jpg is not under"),
        ({"name": "folder", "captions": tmp_path / "bad.json"}, "holds no captions"),
        ({"name": "folder", "captions": tmp_path / "none.txt"}, "cannot be read as captions"),
        ({"name": "wds/x"}, "expected tars with KEY.jpg and KEY.txt, got 0 and 0"),
    ):
        with pytest.raises(InvalidInput, match=message):
            open_captioned(options.pop("name"), tmp_path, **options)
