"""Features of many images on disk: computed once, written shard by shard, read as memory-mapped rows.

A folder holds `features.json` (what they are) and `pass-P/shard-NNNNN.npy`. A shard appears whole or not at
all, so a killed computation goes on where it was. Letters of the shapes: N images, B batch, L tapped layers.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from ...errors import InvalidInput
from ...whole import write_whole
from ..world import World
from .config import ProbeConfig
from .frozen import Frozen
from .samples import Labels, Samples
from .stream import PLAIN, cut, stream

SHARD_BYTES = 64 * 2**20
OPEN_SHARDS = 500  # memory maps held at a time: each takes one of the process's file descriptors


@dataclass(frozen=True)
class Features:
    """The stored features of N images in one or more passes, and their labels."""

    folder: Path
    shape: tuple[int, ...]  # of one image's: (L, F) or (L, N, D)
    layers: tuple[int, ...]
    shard_rows: int
    passes: int
    labels_N: Labels
    shards: dict[tuple[int, int], npt.NDArray[Any]]  # (pass, shard) -> memory map, the last ones asked for

    def __len__(self) -> int:
        return len(self.labels_N)

    def rows(self, rows_B: Labels, which_pass: int = 0) -> Tensor:
        """(B, L, ...) float32 of these images; only their pages are read."""
        out = np.empty((len(rows_B), *self.shape), np.float32)
        numbers_B = rows_B // self.shard_rows
        for number in np.unique(numbers_B):
            inside = np.flatnonzero(numbers_B == number)
            inside = inside[np.argsort(rows_B[inside])]  # in the order of the disk
            out[inside] = self._shard(which_pass, int(number))[rows_B[inside] % self.shard_rows]
        return torch.from_numpy(out)

    def blocks(self, layer: int, size: int = 4096) -> Iterator[tuple[Tensor, Labels]]:
        """((B, F) float32, labels) of one tapped layer, by its place, over all images in order."""
        for start in range(0, len(self), size):
            rows_B = np.arange(start, min(start + size, len(self)))
            yield self.rows(rows_B)[:, layer], self.labels_N[rows_B]

    def _shard(self, which_pass: int, number: int) -> npt.NDArray[Any]:
        key = (which_pass, number)
        shard = self.shards.pop(key) if key in self.shards else self._open(which_pass, number)
        if len(self.shards) >= OPEN_SHARDS:
            del self.shards[next(iter(self.shards))]  # the one that was asked for longest ago
        self.shards[key] = shard
        return shard

    def _open(self, which_pass: int, number: int) -> npt.NDArray[Any]:
        path = shard_path(self.folder, which_pass, number)
        try:
            shard: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InvalidInput(f"{path} is no readable shard of features: {error}") from error
        wanted = (min(self.shard_rows, len(self) - number * self.shard_rows), *self.shape)
        if shard.shape != wanted:
            raise InvalidInput(f"{path} has shape {shard.shape}, expected {wanted}")
        return shard


def shard_path(folder: Path, which_pass: int, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"pass-{which_pass}" / f"shard-{number:05d}.npy"


def compute_features(
    root: Path,
    samples: Samples,
    frozen: Frozen,
    config: ProbeConfig,
    world: World,
    *,
    passes: int = 0,
    progress: Callable[[int], None] = lambda images: None,
) -> Features:
    """The features of all samples, computed where they are not on disk yet, in a folder of `root`.

    The folder is named after all that decides the features, so that unlike ones never meet. `passes` 0 is
    one plain view, otherwise as many augmented ones: pass p shows every image as epoch p of the exact recipe
    does. Several processes share the shards.
    """
    row_bytes = int(np.prod(frozen.shape)) * np.dtype(config.feature_dtype).itemsize
    shard_rows = max(1, min(SHARD_BYTES // row_bytes, 8192))
    wanted = plan(samples, frozen, config, passes, shard_rows)
    folder = root / folder_name(wanted)
    found = Features(folder, frozen.shape, frozen.layers, shard_rows, max(passes, 1), samples.labels_N, {})
    if world.leads:
        write_plan(folder, wanted)
    meet(world)
    shards = [(p, n) for p in range(found.passes) for n in range(-(-len(samples) // shard_rows))]
    for which_pass, number in shards[world.rank :: world.size]:
        path = shard_path(folder, which_pass, number)
        rows = np.arange(number * shard_rows, min((number + 1) * shard_rows, len(samples)))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            epoch = which_pass if passes else PLAIN
            write_whole(path, ShardWriter(samples, rows, frozen, config, epoch, progress), sync=True)
        else:
            progress(len(rows))
    meet(world)
    return found


def plan(
    samples: Samples, frozen: Frozen, config: ProbeConfig, passes: int, shard_rows: int
) -> dict[str, Any]:
    """What decides the features, as JSON: two folders with equal plans hold equal numbers."""
    views = ("crop_scale", "crop_ratio", "flip", "seed") if passes else ()
    return {
        "images": len(samples),
        "data": samples.fingerprint(),
        "backbone": frozen.fingerprint,
        "head": frozen.kind,
        "layers": list(frozen.layers),
        "shape": list(frozen.shape),
        "dtype": config.feature_dtype,
        "passes": passes,
        "shard_rows": shard_rows,
        "views": {name: config.to_dict()[name] for name in views},
    }


def write_plan(folder: Path, wanted: dict[str, Any]) -> None:
    """Nothing; the folder then says what it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(wanted, indent=2) + "\n"
    write_whole(folder / "features.json", lambda temporary: temporary.write_text(text, "utf-8"))


def folder_name(wanted: dict[str, Any]) -> str:
    """A short name for the features of a plan, so that unlike ones lie in unlike folders."""
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]


class ShardWriter:
    """Writes one shard, batch by batch, into the file it is given."""

    def __init__(
        self,
        samples: Samples,
        rows: Labels,
        frozen: Frozen,
        config: ProbeConfig,
        epoch: int,
        progress: Callable[[int], None],
    ) -> None:
        self.samples, self.rows, self.frozen, self.config = samples, rows, frozen, config
        self.epoch, self.progress = epoch, progress

    def __call__(self, path: Path) -> None:
        """Nothing; the file is then the whole shard."""
        dtype = np.dtype(self.config.feature_dtype)
        shape = (len(self.rows), *self.frozen.shape)
        out = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        done = 0
        views = [(rows, np.full(len(rows), self.epoch)) for rows in cut(self.rows, self.config.feature_batch)]
        for features in stream(self.samples, self.frozen, self.config, views):
            with np.errstate(over="ignore"):
                block = features.cpu().numpy().astype(dtype)
            if not np.isfinite(block).all():
                raise InvalidInput(
                    f"a feature is not finite in {dtype}: set feature_dtype = 'float32', or check the weights"
                )
            out[done : done + len(block)] = block
            done += len(block)
            self.progress(len(block))
        out.flush()


def meet(world: World) -> None:
    """Nothing; returns when every process is here."""
    if world.size > 1:
        dist.barrier()
