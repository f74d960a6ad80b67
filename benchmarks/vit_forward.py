"""How near InternViT's forward pass comes to its own matrix products, and how eager attention compares.

Prints a markdown table. The same process times, in turn, round by round:
- `forward`: InternViT in eval mode, no gradients;
- `products`: only its matrix products, same shapes and weights, outputs to buffers made beforehand;
- `eager`: the same forward with attention written out as in the original (scores, softmax, values).
A ratio is the median over the rounds of the ratio within a round, so that other load cancels out.

    python benchmarks/vit_forward.py                                   # 300M, 448 px, batch 8, both dtypes
    python benchmarks/vit_forward.py --layers 2 --image 224 --batch 1  # a quick look
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import torch
from polylens.backbone import SIZES, InternViT
from torch import Tensor

SIZE = "OpenGVLab/InternViT-300M-448px"


def eager_attention(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, **_: object) -> Tensor:
    """Attention as the original writes it without flash attention: the L x L weights exist in memory."""
    scores_BHLL = (q_BHLK * q_BHLK.shape[-1] ** -0.5) @ k_BHLK.transpose(-2, -1)
    return scores_BHLL.softmax(dim=-1) @ v_BHLK


def matrix_products(vit: InternViT, batch: int) -> Callable[[], None]:
    """A function that does the forward's matrix products and nothing else."""
    config, patch = vit.config, vit.embeddings.patch_embedding.weight.flatten(1)
    patches, heads, width = config.grid**2, config.num_attention_heads, config.hidden_size
    tokens, head = patches + 1, width // heads
    new = patch.new_empty
    pixels, tokens_ND = new(batch * patches, patch.shape[1]).normal_(), new(batch * tokens, width).normal_()
    hidden_NM = new(batch * tokens, config.intermediate_size).normal_()
    q_GLK = new(batch * heads, tokens, head).normal_()
    weights_GLL = new(batch * heads, tokens, tokens).normal_()
    inputs = {"embed": pixels, "fc2": hidden_NM}
    maps: list[tuple[Tensor, Tensor, Tensor]] = []
    for name, weight in [("embed", patch), *linear_maps(vit)]:
        x = inputs.get(name, tokens_ND)
        maps.append((x, weight.t(), new(x.shape[0], weight.shape[0])))
    scores_GLL, values_GLK = torch.empty_like(weights_GLL), torch.empty_like(q_GLK)

    def run() -> None:
        for x, weight, out in maps:
            torch.mm(x, weight, out=out)
        for _ in range(config.num_hidden_layers):
            torch.bmm(q_GLK, q_GLK.transpose(1, 2), out=scores_GLL)
            torch.bmm(weights_GLL, q_GLK, out=values_GLK)

    return run


def linear_maps(vit: InternViT) -> list[tuple[str, Tensor]]:
    """Name and weight of every linear map, in order."""
    maps = [
        (name, module) for name, module in vit.encoder.named_modules() if isinstance(module, torch.nn.Linear)
    ]
    return [(name.rsplit(".", 1)[-1], module.weight) for name, module in maps]


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@torch.inference_mode()
def measure(vit: InternViT, batch: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each of the three, per round, after one round that does not count."""
    image = vit.config.image_size
    pixels = torch.randn(batch, 3, image, image, dtype=next(vit.parameters()).dtype)
    products = matrix_products(vit, batch)

    def eager() -> Tensor:
        with mock.patch("polylens.backbone.layers.attention", eager_attention):
            return vit(pixels)

    difference = (eager() - vit(pixels)).abs().max().item() / vit(pixels).abs().max().item()
    if difference > 3e-2:
        raise SystemExit(f"the two formulations disagree by {difference:.1e}: nothing to compare")
    runs: dict[str, Callable[[], object]] = {
        "forward": lambda: vit(pixels),
        "products": products,
        "eager": eager,
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds + 1):
        for name, run in runs.items():
            taken = seconds(run)
            if index:
                times[name].append(taken)
    return times


def row(label: str, times: dict[str, list[float]], batch: int) -> str:
    """One line of the table."""
    over = {
        name: statistics.median(a / b for a, b in zip(times["forward"], times[name], strict=True))
        for name in ("products", "eager")
    }
    forward = statistics.median(times["forward"])
    return (
        f"| {label} | {forward:.2f} | {batch / forward:.2f} | {over['products']:.2f} | {over['eager']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default=SIZE, choices=SIZES)
    parser.add_argument("--layers", type=int, help="keep only so many layers")
    parser.add_argument("--image", type=int, default=448, help="pixels per side")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, help="default: PyTorch's own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    size = SIZES[options.size]
    config = replace(
        size, image_size=options.image, num_hidden_layers=options.layers or size.num_hidden_layers
    )
    torch.manual_seed(0)
    vit = InternViT(config).eval()
    print(
        f"{options.size}, {config.num_hidden_layers} layers, {options.image} px, batch {options.batch}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print("| dtype | forward, s | images/s | forward / products | forward / eager |\n|---|---|---|---|---|")
    for name in options.dtypes:
        times = measure(vit.to(getattr(torch, name)), options.batch, options.rounds)
        print(row(name, times, options.batch), flush=True)


if __name__ == "__main__":
    main()
