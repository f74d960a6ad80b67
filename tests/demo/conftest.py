"""Twelve drawings, and a stand-in for a model that recognises them by their pixels."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from polylens.demo.openmoji import Drawing, drawings, key_of, pictures

TWELVE = "🐈 🍎 🍕 🚲 ☂️ 🚀 🔑 🐋 ☀️ ❤️ 🐟 🎈".split()
SIDE = 8  # pixels of the miniature that serves as a vector


class FakeEncoder:
    """A picture's vector is its miniature; a text's is that of the picture the lexicon gives it."""

    name, fingerprint = "fake", "0" * 64
    dim, logit_scale, max_text_tokens = 3 * SIDE * SIDE, 100.0, 80

    def __init__(self, lexicon: Mapping[str, Path]) -> None:
        self.lexicon = lexicon
        self.encoded = 0

    def encode_images(self, images: Sequence[Path]) -> np.ndarray:
        self.encoded += len(images)
        return self.embed_pixels([self.prepare_image(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.embed_ids([self.prepare_text(text) for text in texts])

    def prepare_image(self, image: Path | bytes | Image.Image) -> np.ndarray:
        source = io.BytesIO(image) if isinstance(image, bytes) else image
        picture = source if isinstance(source, Image.Image) else Image.open(source)
        small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        return np.asarray(small, np.float32).ravel() / 255 - 0.5

    def prepare_text(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int64)

    def text_truncated(self, text: str) -> bool:
        return False

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        vectors = np.stack(list(pixels))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_ids(self, ids: Sequence[np.ndarray]) -> np.ndarray:
        texts = [bytes(row.astype(np.uint8)).decode() for row in ids]
        known = [self.lexicon.get(text) for text in texts]
        blank = np.full(self.dim, 0.5, np.float32)
        return self.embed_pixels([self.prepare_image(file) if file else blank for file in known])


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; matplotlib keeps its one, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def gallery() -> list[Drawing]:
    wanted = set(map(key_of, TWELVE))
    return [drawing for drawing in drawings() if drawing.key in wanted]


@pytest.fixture(scope="session")
def files(gallery: list[Drawing], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return pictures(gallery, size=64, folder=tmp_path_factory.mktemp("drawings"))


@pytest.fixture
def fake(gallery: list[Drawing], files: dict[str, Path]) -> Callable[[Mapping[str, str]], Any]:
    """Makes an encoder that knows which emoji each text means."""
    return lambda means: FakeEncoder({text: files[key_of(emoji)] for text, emoji in means.items()})
