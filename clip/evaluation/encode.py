"""Vectors of a data set's images and texts, shared out to the processes of a run.

Legend: N = images or texts of all processes, D = width.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist

from ...backbone.world import World
from ..batches import grouped, tracked
from ..encoder import Vectors
from ..images import ImageSource
from .items import Items

ALONE = World(0, 1, 0)
TEXTS_AT_ONCE = 4096  # so that a bar moves and the ids of a million captions are never all in memory


class Embeds(Protocol):
    """What an evaluation asks of a model; `polylens.Encoder` is one."""

    @property
    def dim(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def encode_images(self) -> Callable[[Iterator[ImageSource]], Vectors]: ...
    @property
    def encode_texts(self) -> Callable[[Sequence[str]], Vectors]: ...


def encode_items(
    encoder: Embeds, items: Items, *, world: World = ALONE, limit: int | None = None, progress: bool = False
) -> tuple[Vectors, list[Any]]:
    """(N, D) unit rows of the images (the first `limit`), and their targets, the same in every process."""
    targets: list[Any] = []

    def own() -> Iterator[ImageSource]:
        for image, target in islice(items.rows(world.rank, world.size), limit):
            targets.append(target)
            if image is not None:
                yield image

    total = -(-min(size_of(items), limit or size_of(items)) // world.size) or None
    shown = tracked(own(), total, "images", show=progress and world.leads)
    vectors_ND = encoder.encode_images(iter(shown))
    return gathered(vectors_ND, len(targets), world), targets


def encode_texts(
    encoder: Embeds, texts: Sequence[str], *, world: World = ALONE, progress: bool = False
) -> Vectors:
    """(N, D) unit rows of the texts, the same in every process."""
    own = range(world.rank, len(texts), world.size)
    parts = grouped(own, TEXTS_AT_ONCE)
    shown = tracked(parts, -(-len(own) // TEXTS_AT_ONCE), "texts", show=progress and world.leads)
    rows = [np.empty((0, encoder.dim), np.float32)]
    rows += [encoder.encode_texts([texts[row] for row in part]) for part in shown]
    return gathered(np.concatenate(rows), len(texts), world)


def gathered(own_ND: Vectors, total: int, world: World) -> Vectors:
    """(N, D): the rows rank, rank + size, ... of every process put in their places."""
    if world.size == 1:
        return own_ND
    most = -(-total // world.size)
    padded = torch.zeros(most, own_ND.shape[1])
    padded[: len(own_ND)] = torch.from_numpy(own_ND)
    if dist.get_backend() == "nccl":
        padded = padded.to("cuda")
    parts = [torch.empty_like(padded) for _ in range(world.size)]
    dist.all_gather(parts, padded)
    all_ND = np.empty((total, own_ND.shape[1]), np.float32)
    for rank, part in enumerate(parts):
        rows = range(rank, total, world.size)
        all_ND[rank :: world.size] = part[: len(rows)].cpu().numpy()
    return all_ND


def gathered_texts(own: Sequence[str], total: int, world: World) -> list[str]:
    """The texts rank, rank + size, ... of every process put in their places."""
    if world.size == 1:
        return list(own)
    content = torch.frombuffer(bytearray(json.dumps(list(own)).encode()), dtype=torch.uint8)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    length = torch.tensor([len(content)], device=device)
    lengths = [torch.empty_like(length) for _ in range(world.size)]
    dist.all_gather(lengths, length)
    padded = torch.zeros(int(max(lengths)), dtype=torch.uint8, device=device)
    padded[: len(content)] = content.to(device)
    parts = [torch.empty_like(padded) for _ in range(world.size)]
    dist.all_gather(parts, padded)
    texts = [""] * total
    for rank, (part, size) in enumerate(zip(parts, lengths, strict=True)):
        texts[rank :: world.size] = json.loads(bytes(part[: int(size)].cpu().numpy()))
    return texts


def size_of(items: Items) -> int:
    """How many there are, or 0 where nobody knows before the end."""
    try:
        return len(items)
    except TypeError:
        return 0
