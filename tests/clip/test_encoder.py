"""The Encoder around a toy model: order, batches, neighbours of bad input, overlap, bounded memory."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from polylens.clip.batches import ahead, grouped
from polylens.clip.encoder import Encoder
from polylens.clip.errors import InvalidImage, UnusableVector
from polylens.clip.fingerprint import fingerprint
from polylens.errors import InvalidInput
from torch import Tensor


class Toy:
    """Vectors from the sums of pixels and ids; remembers what it was asked."""

    name, dim, logit_scale, max_text_tokens, fingerprint = "toy", 5, 10.0, 8, "f" * 64

    def __init__(self) -> None:
        self.image_weights = torch.randn(4 * 4 * 3, self.dim, generator=torch.Generator().manual_seed(1))
        self.text_batches: list[tuple[int, ...]] = []
        self.image_batches: list[int] = []
        self.prepared = 0

    def prepare_image(self, image: Image.Image) -> np.ndarray:
        self.prepared += 1
        return np.asarray(image.convert("RGB").resize((4, 4)), np.float32).transpose(2, 0, 1) / 255

    def prepare_text(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int64)[: self.max_text_tokens]

    def text_truncated(self, text: str) -> bool:
        return len(text.encode()) > self.max_text_tokens

    def embed_images(self, pixels_BCHW: Tensor) -> Tensor:
        self.image_batches.append(len(pixels_BCHW))
        # A black picture has no direction, a white one overflows: both happen to real networks.
        overflow = torch.where(pixels_BCHW.amin() == 1, torch.inf, 1.0)
        return pixels_BCHW.flatten(1) @ self.image_weights * overflow

    def embed_texts(self, ids_BL: Tensor) -> Tensor:
        self.text_batches.append(tuple((ids_BL > 0).sum(dim=1).tolist()))
        powers_LD = torch.arange(1, 9)[: ids_BL.shape[1], None] ** torch.arange(self.dim)
        return (ids_BL @ powers_LD).bfloat16()


def picture(i: int) -> Image.Image:
    return Image.new("RGB", (6, 6), (10 + i, 255 - i, (37 * i) % 256))


def twin(encoder: Encoder, i: int) -> np.ndarray:
    """The vector of picture(i) step by step, alone."""
    return encoder.embed_pixels([encoder.prepare_image(picture(i))])[0]


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(Toy(), batch_size=4, workers=2)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 23])
def test_images_come_back_in_order_as_unit_rows(encoder: Encoder, count: int) -> None:
    vectors = encoder.encode_images([picture(i) for i in range(count)])
    assert vectors.shape == (count, 5) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for i, vector in enumerate(vectors):
        np.testing.assert_allclose(vector, twin(encoder, i), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_texts_come_back_in_order_sorted_by_length_inside(encoder: Encoder, count: int) -> None:
    texts = ["abcdefghij"[: 1 + (5 * i) % 9] for i in range(count)]
    vectors = encoder.encode_texts(texts)
    assert vectors.shape == (count, 5) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    lengths = [length for batch in encoder.model.text_batches for length in batch]
    assert lengths == sorted(lengths) and all(len(batch) <= 4 for batch in encoder.model.text_batches)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, encoder.embed_ids([encoder.prepare_text(text)])[0], atol=1e-6)
    assert encoder.text_truncated("abcdefghi") and not encoder.text_truncated("abcdefgh")


def test_a_bad_image_is_named_by_its_position(encoder: Encoder) -> None:
    images = [picture(i) for i in range(9)]
    assert len(encoder.encode_images(images)) == 9
    images[5] = b"nothing"
    with pytest.raises(InvalidImage, match="^image 5: the image is no image"):
        encoder.encode_images(images)


def test_neighbours_of_bad_images_succeed(encoder: Encoder) -> None:
    images = [picture(i) for i in range(9)]
    images[0] = images[5] = images[8] = b"nothing"
    vectors, errors = encoder.try_encode_images(images)
    assert sorted(errors) == [0, 5, 8] and all(isinstance(error, InvalidImage) for error in errors.values())
    good = [i for i in range(9) if i not in errors]
    np.testing.assert_allclose(vectors, [twin(encoder, i) for i in good], atol=1e-6)
    vectors, errors = encoder.try_encode_images([b"", b""])
    assert vectors.shape == (0, 5) and len(errors) == 2


@pytest.mark.parametrize("colour", ["black", "white"])
def test_a_vector_without_direction_never_leaves(encoder: Encoder, colour: str) -> None:
    encoder = Encoder(encoder.model, batch_size=1)
    images = [picture(0), Image.new("RGB", (6, 6), colour), picture(2)]
    with pytest.raises(UnusableVector, match="image 1"):
        encoder.encode_images(images)
    with pytest.raises(UnusableVector, match="item 1"):
        encoder.embed_pixels([encoder.prepare_image(image) for image in images])
    vectors, errors = encoder.try_encode_images(images)
    assert list(errors) == [1] and np.isfinite(vectors).all() and len(vectors) == 2


def test_bad_lists_and_texts_are_refused(encoder: Encoder) -> None:
    for one_image in ("a.png", b"", picture(0)):
        with pytest.raises(InvalidInput, match="a list of images, got one"):
            encoder.encode_images(one_image)
    with pytest.raises(InvalidInput, match="a list of texts, got one"):
        encoder.encode_texts("text")
    for text, message in (("", "text 1: the text is empty"), (" \n", "empty"), (3, "text 1: expected text")):
        with pytest.raises(InvalidInput, match=message):
            encoder.encode_texts(["fine", text])
    with pytest.raises(InvalidInput, match="one shape"):
        encoder.embed_pixels([np.zeros((3, 4, 4), np.float32), np.zeros((3, 4, 5), np.float32)])
    with pytest.raises(InvalidInput, match="batch_size is 0"):
        Encoder(encoder.model, batch_size=0)
    assert not encoder.model.text_batches  # nothing was computed for nothing


def test_images_are_decoded_while_a_batch_runs() -> None:
    class Waiting(Toy):
        def embed_images(self, pixels_BCHW: Tensor) -> Tensor:
            done = 4 * len(self.image_batches) + 4
            overlapped.append(self.waited_for(min(done + 4, 16)))
            return super().embed_images(pixels_BCHW)

        def waited_for(self, count: int) -> bool:
            with more:
                return more.wait_for(lambda: self.prepared >= count, timeout=10)

        def prepare_image(self, image: Image.Image) -> np.ndarray:
            with more:
                more.notify()
                return super().prepare_image(image)

    overlapped: list[bool] = []
    more = threading.Condition()
    Encoder(Waiting(), batch_size=4, workers=2).encode_images([picture(i) for i in range(16)])
    assert overlapped == [True] * 4


def test_never_more_than_a_few_batches_in_memory(encoder: Encoder) -> None:
    behind: list[int] = []

    def images() -> Iterator[Image.Image]:
        for i in range(60):
            behind.append(i - sum(encoder.model.image_batches))
            yield picture(i)

    assert len(encoder.encode_images(images(), progress=True)) == 60
    assert 4 < max(behind) <= 3 * 4


def test_nothing_more_is_read_after_a_bad_image(encoder: Encoder) -> None:
    images = [picture(i) for i in range(1000)]
    images[2] = b"nothing"
    with pytest.raises(InvalidImage):
        encoder.encode_images(images)
    assert encoder.model.prepared <= 3 * 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_many_threads_get_the_same_rows(encoder: Encoder) -> None:
    images = [picture(i) for i in range(10)]
    expected = encoder.encode_images(images)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: encoder.encode_images(images), range(8)):
            np.testing.assert_array_equal(vectors, expected)


def test_ahead_keeps_order_and_passes_errors_on() -> None:
    assert list(ahead(str, range(50), workers=3, most=7)) == [str(i) for i in range(50)]
    results = ahead(lambda i: 1 // i, [1, 0, 1], workers=1, most=1)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(grouped(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_the_fingerprint_of_a_release_never_changes() -> None:
    weights = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(1, dtype=torch.int64)}
    spec = {"head": "C", "size": 224}
    known = "da0c0a2209d9ec6c62ca3cfb371bdbed77fe2c3b1534efac34f19f16bb39bc84"
    assert fingerprint(weights, spec) == known
    assert fingerprint(dict(reversed(weights.items())), dict(reversed(spec.items()))) == known
    for changed in (
        {**weights, "b": weights["b"].reshape(3, 2)},
        {**weights, "b": weights["b"].bfloat16()},
        {**weights, "b": weights["b"].view(torch.int32)},
        {**weights, "b": weights["b"] + 1e-6},
        {"a": weights["a"], "c": weights["b"]},
    ):
        assert fingerprint(changed, spec) != known
    assert fingerprint(weights, {**spec, "head": "G"}) != known


def test_a_device_without_memory_is_an_error_that_whoever_has_batches_can_answer(encoder: Encoder) -> None:
    def full(pixels_BCHW: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    encoder.model.embed_images = full  # type: ignore[method-assign]
    with pytest.raises(MemoryError, match="a batch of 1"):
        encoder.encode_images([picture(1)])
