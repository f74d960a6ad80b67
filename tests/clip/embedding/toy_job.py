"""A toy encoder that is quick and whole jobs with it."""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import torch
from PIL import Image
from polylens.clip.embedding.run import plan_of, run_job
from polylens.clip.embedding.settings import Settings
from polylens.clip.encoder import Encoder
from torch import Tensor


class Toy:
    """Vectors from small pictures and from bytes of texts; floats depend on the batch, as in a real model."""

    name, dim, logit_scale, max_text_tokens, fingerprint = "toy", 8, 10.0, 16, "7" * 64

    def __init__(self) -> None:
        self.images_seen, self.texts_seen = list[int](), list[tuple[int, ...]]()
        self.weights = torch.randn(48, self.dim, generator=torch.Generator().manual_seed(1))

    def prepare_image(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.convert("RGB").resize((4, 4)), np.float32).transpose(2, 0, 1) / 255

    def prepare_text(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int64)[: self.max_text_tokens]

    def text_truncated(self, text: str) -> bool:
        return len(text.encode()) > self.max_text_tokens

    def embed_images(self, pixels_BCHW: Tensor) -> Tensor:
        self.images_seen.append(len(pixels_BCHW))
        return pixels_BCHW.flatten(1) @ self.weights * (1 + pixels_BCHW.mean() / 100)

    def embed_texts(self, ids_BL: Tensor) -> Tensor:
        self.texts_seen.append(tuple((ids_BL > 0).sum(dim=1).tolist()))
        padded = torch.nn.functional.pad(ids_BL, (0, 48 - ids_BL.shape[1])).float()
        return padded @ self.weights * (1 + padded.mean() / 1e4)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(i: int) -> bytes:
    """An encoded picture unlike the others."""
    return encoded(Image.new("RGB", (5, 4), (i % 251 + 1, i * 7 % 253, i * 31 % 255)))


class Job:
    """A job over some sources, and its output once it ran."""

    def __init__(self, out: Path, sources: Sequence[object], **settings: Any) -> None:
        self.out, self.toy = out, Toy()
        self.kind = settings.pop("kind", "auto")
        self.sources = [str(source) for source in sources]
        self.settings = Settings(**({"batch_size": 4} | settings))
        self.encoder = Encoder(self.toy)

    def run(self, **how: Any) -> dict[str, Any] | None:
        plan = plan_of(self.encoder, self.sources, self.out, self.settings, self.kind)
        return run_job(plan, self.encoder, **({"workers": 0} | how))

    def rows(self) -> list[dict[str, Any]]:
        """The metadata of all shards, in order."""
        files = sorted((self.out / "metadata").iterdir())
        return [row for file in files for row in parquet.read_table(file).to_pylist()]

    def rejects(self) -> dict[str, str]:
        files = sorted((self.out / "rejects").iterdir())
        lines = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
        return {line["id"]: line["reason"] for line in lines}

    def vectors(self, kind: str = "img_emb") -> np.ndarray:
        files = sorted((self.out / kind).iterdir())
        return np.concatenate([np.load(file, allow_pickle=False) for file in files])


def digests(out: Path) -> dict[str, str]:
    """Name and SHA-256 of every file of an output, without times and the job's own notes."""
    files = [file for file in out.rglob("*") if file.is_file()]
    kept = [file for file in files if file.relative_to(out).parts[0] not in ("stats", "job", "summary.png")]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in kept}
