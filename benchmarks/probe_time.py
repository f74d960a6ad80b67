"""Times of the two recipes of linear probes, and the memory that the cheap one takes; see docs/probe.md.

    OMP_NUM_THREADS=1 python benchmarks/probe_time.py time    # 21 M random weights at 224 px
    OMP_NUM_THREADS=1 python benchmarks/probe_time.py memory

`time`: one pass of the backbone over the images; the whole cheap recipe, ten epochs of ten heads (two layers,
five learning rates) with the pass in it; and the exact recipe, ten epochs of one head. `memory`: the peak of
what the process has in memory of its own (RssAnon, files that are mapped left out) while ten heads are
trained on stored features of more and more images.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from polylens.backbone import InternViT, ViTConfig
from polylens.backbone.probe.config import ProbeConfig
from polylens.backbone.probe.features import Features, shard_path
from polylens.backbone.probe.frozen import freeze
from polylens.backbone.probe.learner import Learner
from polylens.backbone.probe.run import Job, open_source, prepare, run_steps, stored_features, validate
from polylens.backbone.probe.sources import Schedule, StoredSource
from polylens.backbone.world import World

ALONE = World(0, 1, 0)
SMALL = ViTConfig(
    hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, image_size=224,
    patch_size=14, norm_type="rms_norm", qk_normalization=True, qkv_bias=False, layer_norm_eps=1e-6,
    drop_path_rate=0.0, initializer_range=0.02, initializer_factor=0.1,
)  # fmt: skip
GRID = {"layers": (-1, -2), "learning_rates": (0.03, 0.1, 0.3, 1.0, 3.0)}


def images(root: Path, count: int) -> None:
    """Class folders of noise in 256 x 256 pixels."""
    random = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class {number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).resize((256, 256)).save(folder / f"{number}.jpg")


def steps(job: Job, root: Path) -> None:
    """A whole run but for loading the model before and drawing the report after it."""
    source, schedule = open_source(job, root / "features")
    learner = Learner(job.frozen, len(job.data.train.classes), job.config, schedule.batch_size)
    root.mkdir(parents=True, exist_ok=True)
    run_steps(job, source, schedule, learner, 0)
    validate(learner, source, job)


def measure_time(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        images(root / "data", count)
        torch.manual_seed(0)
        InternViT(SMALL).save_pretrained(root / "model")
        exact = ProbeConfig(model=str(root / "model"), epochs=10, batch_size=32)
        cheap = replace(exact, recipe="cheap", **GRID)  # type: ignore[arg-type]
        jobs = {"cheap": prepare(cheap, root / "data", root), "exact": prepare(exact, root / "data", root)}
        next(iter(jobs.values())).frozen.features(torch.zeros(8, 3, 224, 224))  # the first time is slow
        one = clocked(lambda: stored_features(jobs["cheap"], root / "pass"))
        print(f"one pass over {count} images  {one:7.1f} s of processor time", flush=True)
        for name, job in jobs.items():
            took = clocked(lambda job=job, name=name: steps(job, root / name))  # type: ignore[misc]
            print(f"{name}, ten epochs        {took:7.1f} s, {took / one:6.2f} passes", flush=True)


def clocked(work: Callable[[], object]) -> float:
    """Seconds of the processor, so that other processes on the machine count little."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def stored(folder: Path, count: int, width: int) -> Features:
    """Random features of two layers on disk, written shard by shard."""
    rows = 8192
    random = np.random.default_rng(0)
    for number in range(-(-count // rows)):
        path = shard_path(folder, 0, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        block = random.standard_normal((min(rows, count - number * rows), 2, width), np.float32)
        np.save(path, block.astype(np.float16))
    labels_N = random.integers(0, 100, count)
    return Features(folder, (2, width), (1, 2), rows, 1, labels_N, {})


def private_memory() -> int:
    """Bytes that this process has of its own."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def measure_memory(counts: list[int], batches: list[int]) -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        InternViT(replace(SMALL, num_hidden_layers=2)).save_pretrained(Path(folder) / "model")
        frozen = freeze(Path(folder) / "model", "cls_patch_concat", (-1, -2), device="cpu")
        for count in counts:
            features = stored(Path(folder) / str(count), count, frozen.width)
            for batch in batches:
                config = ProbeConfig(model="", epochs=1, batch_size=batch, **GRID)  # type: ignore[arg-type]
                schedule = Schedule.of(config, count, ALONE)
                learner = Learner(frozen, 100, config, schedule.batch_size)
                source = StoredSource(features, features, schedule)
                peak, over = [private_memory()], threading.Event()

                def watch(peak: list[int] = peak, over: threading.Event = over) -> None:
                    while not over.wait(0.01):
                        peak.append(private_memory())

                threading.Thread(target=watch, daemon=True).start()
                for step, (block, labels) in enumerate(islice(source.batches(0, ALONE), 60)):
                    learner.step(step, block, labels, schedule.rate_share(step))
                over.set()
                size = count * 2 * frozen.width * 2
                print(
                    f"{count:8,} images, {size / 1e6:6.0f} MB of features, batch {batch:5}: "
                    f"{(max(peak) - peak[0]) / 1e6:6.1f} MB",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("time", "memory"))
    parser.add_argument("--images", type=int, default=64)
    options = parser.parse_args()
    if options.what == "time":
        measure_time(options.images)
    else:
        measure_memory([20_000, 200_000], [128, 1024])


if __name__ == "__main__":
    main()
