"""What an evaluation costs beyond the Encoder, and what retrieval costs beyond its matrix product.

Two markdown tables:
- rates of a classifier's texts and of a data set's images through the evaluation, over `encode_texts` and
  `encode_images` alone on the same texts and files, in turn, round by round (medians; 1 is no cost at all);
- recall@k both ways between N images and T texts: peak memory above the vectors' own, and the time over that
  of the bare matrix product in the same tiles, in turn.

Times are the processor's, of all threads, so that a busy machine changes them little with `--threads 1`; of
several threads the waiting counts as well. The load of the machine stands beneath.

    python benchmarks/evaluation_rate.py                            # mini; 100,000 x 500,000 x 256: minutes
    python benchmarks/evaluation_rate.py --images 20000 --texts 100000 --threads 1
    python benchmarks/evaluation_rate.py --only memory --width 16   # the peak alone, without the bare product
"""

import argparse
import math
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polylens
import torch
from PIL import Image
from polylens.clip.evaluation import ranks
from polylens.clip.evaluation.classifier import build_classifier
from polylens.clip.evaluation.encode import encode_items
from polylens.clip.evaluation.image_text import two_way_recall
from polylens.clip.evaluation.items import Listed

CLASSES, TEMPLATES = 200, 10


def seconds(call: Callable[[], object]) -> float:
    """How much time of processors the call took."""
    start = time.process_time()
    call()
    return time.process_time() - start


def ratio_of(ours: Callable[[], object], bare: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The median over rounds of bare over ours (the share of the bare rate), and ours in seconds."""
    pairs = [(seconds(ours), seconds(bare)) for _ in range(rounds)]
    return statistics.median(b / o for o, b in pairs), statistics.median(o for o, _ in pairs)


def pictures(folder: Path, count: int) -> list[Path]:
    """JPEG files of 500 x 375 pixels."""
    generator = np.random.default_rng(0)
    files = []
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        files.append(folder / f"{number}.jpg")
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return files


def encoding(model: str, rounds: int, count: int) -> None:
    """Prints the first table."""
    encoder = polylens.load(model)
    prompts = [[f"a photo of thing {c}, number {t}" for t in range(TEMPLATES)] for c in range(CLASSES)]
    texts = [text for own in prompts for text in own]
    print(f"| {encoder.name} | items per CPU second | share of the Encoder's rate |\n| --- | --: | --: |")
    with TemporaryDirectory() as name:
        files = pictures(Path(name), count)
        items = Listed(files, list(range(count)))
        for title, ours, bare, size in (
            (
                "classifier, texts",
                lambda: build_classifier(encoder, prompts),
                lambda: encoder.encode_texts(texts),
                len(texts),
            ),
            ("images", lambda: encode_items(encoder, items), lambda: encoder.encode_images(files), count),
        ):
            bare()
            share, taken = ratio_of(ours, bare, rounds)
            print(f"| {title} | {size / taken:,.0f} | {share:.2f} |")


def unit_rows(rows: int, width: int, seed: int) -> np.ndarray:
    """(rows, width) float32 of length 1, made in parts so that memory has no peak."""
    generator = np.random.default_rng(seed)
    vectors = np.empty((rows, width), np.float32)
    for start in range(0, rows, 16384):
        part = vectors[start : start + 16384]
        generator.standard_normal(out=part, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def plain_product(images: np.ndarray, texts: np.ndarray) -> None:
    """The matrix product in the tiles of the evaluation, and nothing with it."""
    rows, columns = torch.from_numpy(images), torch.from_numpy(texts)
    side = math.isqrt(ranks.MAX_BLOCK)
    space = torch.empty(min(side, len(rows)) * min(side, len(columns)))
    for top in range(0, len(rows), side):
        for left in range(0, len(columns), side):
            of_rows, of_columns = rows[top : top + side], columns[left : left + side]
            place = space[: len(of_rows) * len(of_columns)].view(len(of_rows), len(of_columns))
            torch.matmul(of_rows, of_columns.T, out=place)


def peak() -> int:
    """The most memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def retrieval(images: int, texts: int, width: int, rounds: int) -> None:
    """Prints the second table; the bare product is left out with no rounds."""
    images_ND, texts_TD = unit_rows(images, width, 0), unit_rows(texts, width, 1)
    image_of = np.arange(texts) * images // texts

    def ours() -> None:
        two_way_recall(images_ND, texts_TD, image_of, (1, 5, 10))

    plain_product(images_ND[:64], texts_TD[:64])
    before = peak()
    taken = seconds(ours)
    extra, whole = (peak() - before) / 2**20, images * texts * 4 / 2**30
    over = "not measured"
    if rounds:
        share, taken = ratio_of(ours, lambda: plain_product(images_ND, texts_TD), rounds)
        over = f"{1 / share:.2f}"
    print("\n| N x T x D | CPU seconds | over the product | peak above vectors, MiB | whole matrix, GiB |")
    print("| --- | --: | --: | --: | --: |")
    print(f"| {images:,} x {texts:,} x {width} | {taken:.0f} | {over} | {extra:.0f} | {whole:.0f} |")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", default="mini")
    options.add_argument("--images", type=int, default=100_000)
    options.add_argument("--texts", type=int, default=500_000)
    options.add_argument("--width", type=int, default=256)
    options.add_argument("--pictures", type=int, default=400)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--matrix-rounds", type=int, default=1)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--only", choices=("memory", "retrieval", "encoding"))
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    if given.only != "encoding":
        rounds = 0 if given.only == "memory" else given.matrix_rounds
        retrieval(given.images, given.texts, given.width, rounds)
    if given.only in (None, "encoding"):
        encoding(given.model, given.rounds, given.pictures)
    print(f"\nthreads: {given.threads}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
