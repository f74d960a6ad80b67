"""Zero-shot classification against a naive twin, and what it refuses."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from polylens.clip.evaluation.ranking import ranked
from polylens.proto.polylens.v1 import classify_pb2
from polylens.service.client import Client
from polylens.service.errors import BatchError, RemoteError

LABELS = ["cat", "猫", "paka", "a red apple"]


@pytest.fixture
def client(running: Any) -> Iterator[Client]:
    with Client(running.address) as client:
        yield client


def twin(
    image_D: np.ndarray, sentences: list[list[str]], text_vector: Callable[[str], np.ndarray]
) -> np.ndarray:
    """The probability of each label, one at a time and in the plainest words."""
    cosines = []
    for of_label in sentences:
        mean_D = np.mean([text_vector(one).astype(np.float64) for one in of_label], axis=0)
        cosines.append(float(image_D @ mean_D / np.linalg.norm(mean_D)))
    weights = [np.exp(100.0 * cosine) for cosine in cosines]
    return np.array(weights) / sum(weights)


@pytest.mark.parametrize("templates", [[], ["a photo of {}"], ["{}", "a photo of {}", "picha ya {} {}"]])
def test_probabilities_equal_those_of_the_twin(
    client: Client, running: Any, picture: Callable[..., bytes], templates: list[str]
) -> None:
    images = [picture((i, 0, 0)) for i in range(5)]
    got = client.classify(images, LABELS, templates=templates)
    sentences = [[t.replace("{}", label) for t in templates or ["{}"]] for label in LABELS]
    for scores, image_D in zip(got, client.embed_images(images), strict=True):
        want = twin(image_D, sentences, running.encoder.text_vector)
        assert [one.label for one in scores] == [LABELS[i] for i in np.argsort(-want)]
        assert [one.probability for one in scores] == pytest.approx(sorted(want, reverse=True), abs=1e-5)
        assert sum(one.probability for one in scores) == pytest.approx(1, abs=1e-5)
    best = client.classify(images, LABELS, templates=templates, top=1)
    assert [[one.label] for (one,) in best] == [[scores[0].label] for scores in got]


def test_many_sentences_go_in_slices(client: Client, running: Any, picture: Callable[..., bytes]) -> None:
    labels = [f"label {i}" for i in range(700)]
    (scores,) = client.classify([picture()], labels)
    assert sorted(one.label for one in scores) == sorted(labels)
    assert max(running.encoder.batches) <= 32


def test_a_bad_image_leaves_its_neighbours_alone(client: Client, picture: Callable[..., bytes]) -> None:
    with pytest.raises(BatchError) as raised:
        client.classify([picture(), b"no", picture((1, 1, 1))], LABELS)
    assert [(fault.index, fault.code) for fault in raised.value.faults] == [(1, 3)]
    assert [one and len(one) for one in raised.value.result] == [4, None, 4]


@pytest.mark.parametrize(
    ("labels", "templates", "words", "code"),
    [
        ([], [], "labels: at least one", "INVALID_ARGUMENT"),
        (["a", "b", "a"], [], "labels: 'a' is there twice", "INVALID_ARGUMENT"),
        (["a", " "], [], r"labels\[1\]: the text is empty", "INVALID_ARGUMENT"),
        (["a"], ["{}", "no place"], r"templates\[1\]: 'no place' has no {}", "INVALID_ARGUMENT"),
        ([str(i) for i in range(1000)], ["{}"] * 5, "are 5000 sentences; at most 4096", "RESOURCE_EXHAUSTED"),
        (["poison"], [], "internal error", "INTERNAL"),
    ],
)
def test_what_cannot_be_asked(
    client: Client,
    picture: Callable[..., bytes],
    labels: list[str],
    templates: list[str],
    words: str,
    code: str,
) -> None:
    with pytest.raises(RemoteError, match=words) as raised:
        client.classify([picture()], labels, templates=templates)
    assert raised.value.code == code


def test_a_label_that_is_cut_off_is_told(client: Client, picture: Callable[..., bytes]) -> None:
    stub = client._stubs._stubs["Classify"]
    for label, truncated in (("short", False), ("word " * 9, True)):
        reply = stub(classify_pb2.ClassifyRequest(images=[picture()], labels=[label]))
        assert reply.truncated is truncated and reply.timings.total_ms > 0
        assert reply.classifications[0].labels[0].probability == 1


def test_no_overflow_and_ties_in_the_order_given() -> None:
    scores = ranked(["a", "b", "c"], np.array([-1, 1, 1], np.float32), scale=1e4)
    assert [(one.label, one.probability) for one in scores] == [("b", 0.5), ("c", 0.5), ("a", 0.0)]
