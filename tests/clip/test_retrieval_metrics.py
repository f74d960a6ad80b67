"""Retrieval and zero-shot metrics: the original's numbers, a naive twin, and literal matrices."""

import json
from pathlib import Path

import numpy as np
import pytest
from polylens.clip.evaluation import ranks, zero_shot
from polylens.clip.evaluation.retrieval import found_at_k, positive_ranks, recall_at_k
from polylens.errors import InvalidInput

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return {**np.load(GOLDEN / "inputs.npz"), **np.load(GOLDEN / "expected.npz")}


@pytest.fixture(scope="module")
def expected() -> dict[str, dict]:
    return json.loads((GOLDEN / "expected.json").read_text())


@pytest.fixture(scope="module")
def toy(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit images, unit texts, and the image of each text."""
    images, texts = arrays["ret_image_embeddings"], arrays["ret_text_embeddings"]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts)]
    return unit[0], unit[1], arrays["ret_text_to_image"]


def naive_recall(scores: np.ndarray, positives: list[list[int]], k: int) -> float:
    first = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    hits = [bool(set(row) & set(right)) for row, right in zip(first, positives, strict=True)]
    return sum(hits) / len(hits)


def test_recall_is_the_original_one(toy, arrays, expected) -> None:
    images, texts, image_of = toy
    texts_of = [np.flatnonzero(image_of == i).tolist() for i in range(len(images))]
    image_retrieval = recall_at_k(texts, images, image_of[:, None].tolist(), ks=(1, 2, 5, 10))
    text_retrieval = recall_at_k(images, texts, texts_of, ks=(1, 2, 5, 10))
    for k in (1, 2, 5, 10):
        metrics = expected["retrieval"]["metrics"]
        assert image_retrieval[k] == pytest.approx(metrics[f"image_retrieval_recall@{k}"], abs=1e-6)
        assert text_retrieval[k] == pytest.approx(metrics[f"text_retrieval_recall@{k}"], abs=1e-6)
    np.testing.assert_allclose(texts @ images.T, arrays["ret_scores_text_by_image"], atol=1e-6)
    for k in (1, 5):
        per_image = found_at_k(images, texts, texts_of, k)
        per_text = found_at_k(texts, images, image_of[:, None].tolist(), k)
        np.testing.assert_allclose(per_image, arrays[f"ret_recall_at_{k}_text_per_image"], atol=1e-6)
        np.testing.assert_allclose(per_text, arrays[f"ret_recall_at_{k}_image_per_text"], atol=1e-6)


def test_zero_shot_is_the_original_one(arrays, expected) -> None:
    images = arrays["cls_image_embeddings"] / np.linalg.norm(arrays["cls_image_embeddings"], axis=1)[:, None]
    classifier = zero_shot.class_vectors(arrays["cls_text_table"])
    np.testing.assert_allclose(classifier.T, arrays["cls_classifier"], atol=1e-6)
    scores = images @ classifier.T
    for name, targets in (("", "cls_targets"), ("_missing_class", "cls_targets_missing_class")):
        metrics, targets_N = expected[f"classification{name}"]["metrics"], arrays[targets]
        assert zero_shot.accuracy_at_k(scores, targets_N) == pytest.approx(metrics["acc1"], abs=1e-6)
        assert zero_shot.accuracy_at_k(scores, targets_N, 5) == pytest.approx(metrics["acc5"], abs=1e-6)
        mean = zero_shot.mean_per_class_recall(scores, targets_N)
        assert mean == pytest.approx(metrics["mean_per_class_recall"], abs=1e-6)


def test_recall_equals_a_naive_twin_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    queries, gallery = generator.normal(size=(37, 8)), generator.normal(size=(50, 8))
    positives = [generator.choice(50, size=generator.integers(1, 6), replace=False).tolist() for _ in queries]
    twin = {k: naive_recall(queries @ gallery.T, positives, k) for k in (1, 3, 10, 50)}
    for block in (1, 120, 2**24):
        monkeypatch.setattr(ranks, "MAX_BLOCK", block)
        assert recall_at_k(queries, gallery, positives, ks=(1, 3, 10, 50)) == pytest.approx(twin)
    assert twin[1] < twin[10] < twin[50] == 1


def test_ranks_of_a_literal_matrix() -> None:
    gallery = np.eye(4)
    queries = np.array([[0.9, 0.5, 0.1, 0.0], [0.1, 0.2, 0.3, 0.4]])
    ranks = positive_ranks(queries, gallery, [[0, 2], [0]])
    assert [rank.tolist() for rank in ranks] == [[0, 2], [3]]
    assert found_at_k(queries, gallery, [[0, 2], [0]], 2).tolist() == [0.5, 0.0]


def test_equal_scores_count_against_the_model() -> None:
    queries, gallery = np.ones((3, 2)), np.ones((5, 2))
    assert recall_at_k(queries, gallery, [[0], [1], [2]], ks=(1, 4, 5)) == {1: 0.0, 4: 0.0, 5: 1.0}
    assert zero_shot.accuracy_at_k(np.ones((3, 2)), np.array([0, 1, 0])) == 0.0


def test_bad_input_is_refused() -> None:
    unit = np.eye(3)
    right = [[0], [1], [2]]
    assert recall_at_k(unit, unit, right, ks=(1,)) == {1: 1.0}
    for queries, gallery, positives, message in (
        (unit[:, :2], unit, right, "expected queries"),
        (unit, unit, right[:2], "2 lists of right answers for 3"),
        (unit[:0], unit, [], "0 lists of right answers for 0"),
        (unit, unit, [[0], [], [2]], "query 1"),
        (unit, unit, [[0], [1], [3]], "query 2"),
        (unit, unit, [[0], [1], [-1]], "query 2"),
        (unit * np.nan, unit, right, "finite"),
    ):
        with pytest.raises(InvalidInput, match=message):
            recall_at_k(queries, gallery, positives, ks=(1,))
    for k in (0, 4):
        with pytest.raises(InvalidInput, match=f"k is {k}"):
            recall_at_k(unit, unit, right, ks=(k,))
        with pytest.raises(InvalidInput, match=f"k is {k}"):
            zero_shot.accuracy_at_k(unit, np.arange(3), k)
