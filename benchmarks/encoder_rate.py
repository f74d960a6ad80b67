"""How near the Encoder comes to the slower of its two halves, decoding and the forward pass, in images/s.

Prints a markdown table. The same process times, in turn, round by round, on the same JPEG bytes:
- `decode`: only decoding, resizing and normalising, in the Encoder's threads;
- `forward`: only the forward pass, on batches prepared before;
- `encoder`: `encode_images`, which does both at once.
`slower half` is encoder over the smaller of decode and forward (1 is perfect overlap, the aim is 0.95);
`one after the other` is what a program without overlap would reach. Both are medians over the rounds.

On a CPU the halves need cores of their own: by default one core decodes and the others compute.

    python benchmarks/encoder_rate.py                             # ViT of 22 M parameters, 224 px
    python benchmarks/encoder_rate.py --model mini                # any name polylens.load takes
    python benchmarks/encoder_rate.py --images 32 --rounds 1 --layers 2
"""

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polylens
import torch
from PIL import Image
from polylens.backbone import SIZES, InternViT, Preprocess
from polylens.backbone.device import pick_device, pick_dtype
from polylens.clip import Encoder
from polylens.clip.batches import ahead
from torch import Tensor


class RandomTower:
    """An InternViT of ViT-S/14 sizes with random weights, its class token as the vector; no text tower."""

    name, logit_scale, max_text_tokens, fingerprint = "InternViT 384 wide", 1.0, 0, ""

    def __init__(self, layers: int, image_size: int) -> None:
        sizes = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
        config = replace(
            SIZES["OpenGVLab/InternViT-300M-448px"], num_hidden_layers=layers, image_size=image_size, **sizes
        )
        device = pick_device()
        self.dim, self.prepare_image = 384, Preprocess("service", image_size)
        self.network = InternViT(config).eval().to(device, pick_dtype("auto", device))

    def embed_images(self, pixels_BCHW: Tensor) -> Tensor:
        return self.network(pixels_BCHW)[:, 0]


def photos(count: int, width: int, height: int) -> list[bytes]:
    """JPEG files as detailed as photographs: coarse noise enlarged, fine noise on top."""
    generator = np.random.default_rng(0)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        fine = generator.integers(-12, 13, smooth.shape)
        file = io.BytesIO()
        Image.fromarray((smooth + fine).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def rate(run: Callable[[], object], count: int) -> float:
    """Images per second."""
    start = time.perf_counter()
    run()
    return count / (time.perf_counter() - start)


def measure(encoder: Encoder, files: Sequence[bytes], rounds: int) -> dict[str, list[float]]:
    """Images per second of each of the three, per round, after one round that does not count."""
    most = 2 * encoder.batch_size
    prepared = [encoder.prepare_image(file) for file in files[: encoder.batch_size]]
    batches = -(-len(files) // encoder.batch_size)

    def decode() -> None:
        for _ in ahead(encoder.prepare_image, files, workers=encoder.workers, most=most):
            pass

    def forward() -> None:
        for _ in range(batches):
            encoder.embed_pixels(prepared)

    runs: dict[str, tuple[Callable[[], object], int]] = {
        "decode": (decode, len(files)),
        "forward": (forward, batches * len(prepared)),
        "encoder": (lambda: encoder.encode_images(files), len(files)),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds + 1):
        for name, (run, count) in runs.items():
            taken = rate(run, count)
            if index:
                rates[name].append(taken)
    return rates


def row(label: str, rates: dict[str, list[float]]) -> str:
    """One line of the table."""
    trios = list(zip(rates["decode"], rates["forward"], rates["encoder"], strict=True))
    slower = statistics.median(encoder / min(decode, forward) for decode, forward, encoder in trios)
    serial = statistics.median(
        1 / (1 / decode + 1 / forward) / min(decode, forward) for decode, forward, _ in trios
    )
    middle = " | ".join(f"{statistics.median(values):.1f}" for values in rates.values())
    return f"| {label} | {middle} | {slower:.2f} | {serial:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a name polylens.load takes; default: random weights")
    parser.add_argument("--layers", type=int, default=12, help="of the random weights")
    parser.add_argument("--image", type=int, default=224, help="pixels per side of the random weights")
    parser.add_argument("--images", type=int, default=512, help="how many JPEG files")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), help="width and height of the files")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    cores = os.cpu_count() or 2
    parser.add_argument("--workers", type=int, default=1, help="threads that decode")
    parser.add_argument("--threads", type=int, default=max(1, cores - 1), help="threads that compute")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = (
        polylens.load(options.model).model if options.model else RandomTower(options.layers, options.image)
    )
    encoder = Encoder(model, batch_size=options.batch, workers=options.workers)
    files = photos(options.images, *options.size)
    print(
        f"{options.images} JPEG files of {options.size[0]} x {options.size[1]}, batch {options.batch}, "
        f"{options.workers} threads decode, {options.threads} compute, torch {torch.__version__}\n"
    )
    print("| model | decode, images/s | forward | encoder | encoder / slower half | one after the other |")
    print("|---|---|---|---|---|---|")
    print(row(encoder.name, measure(encoder, files, options.rounds)))


if __name__ == "__main__":
    main()
