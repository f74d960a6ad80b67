"""What embedding and keeping a million pictures costs, and a billion: the table of docs/scale.md.

    python benchmarks/scale.py                  # counts operations, measures decoding and bytes
    python benchmarks/scale.py --images 5.85e9  # the same for LAION-5B

Every line says whether its figure was measured here, counted from the published sizes, or computed from these
and the assumptions, which are arguments. Nothing is downloaded: networks are built without weights.

Letters of the shapes: B batch, C colours, H and W pixels, L token positions, N rows, D width.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import faiss
import numpy as np
import open_clip
import torch
from common import Mixture
from numpy.typing import NDArray
from PIL import Image
from polylens.backbone.pixels import Preprocess
from polylens.backbone.shapes_only import shapes_only
from polylens.clip.internvl_c import InternVLC
from polylens.clip.recipe import prepared, written
from polylens.clip.sizes import INTERNVL_14B_224PX
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

MILLION = 1e6
TEXT_TOKENS = 20  # of a usual caption
STORED = ("Flat", "SQfp16", "IVF256,SQ8", "IVF256,PQ64", "HNSW32,Flat")


@dataclass(frozen=True)
class Model:
    """A dual encoder, with the operations of one picture and one text, and its parameters."""

    name: str
    parameters: int
    image_flops: int
    text_flops: int
    dim: int


def counted(run: Callable[[], Tensor]) -> int:
    """Floating-point operations of a forward pass, two for each multiplication with addition."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def models() -> Iterator[Model]:
    """InternVL-C 14B and CLIP ViT-L/14, whose image tower has 304 million parameters."""
    with shapes_only():
        network = InternVLC(INTERNVL_14B_224PX)
    pixels_BCHW = torch.empty(1, 3, 224, 224, device="meta")
    ids_BL = torch.ones(1, TEXT_TOKENS, dtype=torch.long, device="meta")
    yield Model(
        "InternVL-C 14B",
        sum(one.numel() for one in network.parameters()),
        counted(lambda: network.encode_image(pixels_BCHW)),
        counted(lambda: network.text_features(ids_BL)[:, -1] @ network.text_projection),
        INTERNVL_14B_224PX.clip_embed_dim,
    )

    clip = open_clip.create_model("ViT-L-14", device="meta")
    ids_BL = torch.ones(1, 77, dtype=torch.long, device="meta")
    yield Model(
        "CLIP ViT-L/14",
        sum(one.numel() for one in clip.parameters()),
        counted(lambda: clip.encode_image(pixels_BCHW)),
        counted(lambda: clip.encode_text(ids_BL)),
        768,
    )


def photo(side: int, seed: int) -> bytes:
    """A JPEG with as much detail as a photograph of that side has: smooth shapes and some noise."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 255, (side // 16, side // 16, 3), np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
    noisy = np.clip(smooth + generator.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def decode_rate(side: int, seconds: float = 3.0) -> tuple[float, float]:
    """Pictures per second of CPU time, decoded and resized exactly, and their bytes on average."""
    pictures = [photo(side, seed) for seed in range(16)]
    recipe = written(Preprocess("service", 224))
    prepared(recipe, pictures[0])
    done, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        prepared(recipe, pictures[done % len(pictures)])
        done += 1
    return done / (time.process_time() - begun), float(np.mean([len(one) for one in pictures]))


def bytes_per_row(factory: str, vectors_ND: NDArray[np.float32]) -> float:
    """Bytes of a FAISS index for each row it holds, codebooks left out as they do not grow."""
    index = faiss.index_factory(vectors_ND.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors_ND)
    half = len(vectors_ND) // 2
    sizes = []
    for part in (vectors_ND[:half], vectors_ND[half:]):
        index.add(part)
        sizes.append(len(faiss.serialize_index(index)))
    return (sizes[1] - sizes[0]) / (len(vectors_ND) - half)


def shown(title: str, rows: list[tuple[str, str, str]]) -> Table:
    table = Table("what", "figure", "how", title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def costs(model: Model, given: argparse.Namespace, decode: float) -> list[tuple[str, str, str]]:
    """What the pictures cost with one model, on the stated GPU."""
    rate = given.peak * 1e12 * given.utilisation / model.image_flops
    hours = given.images / rate / 3600
    return [
        ("parameters", f"{model.parameters / 1e9:.2f} billion", "counted"),
        ("operations of a picture", f"{model.image_flops / 1e12:.3f} TFLOP", "counted"),
        (
            f"operations of a text of {TEXT_TOKENS} tokens (CLIP: 77)",
            f"{model.text_flops / 1e12:.3f} TFLOP",
            "counted",
        ),
        ("pictures a second and GPU", f"{rate:,.0f}", "computed"),
        ("GPU hours", f"{hours:,.1f}", "computed"),
        ("money", f"${hours * given.price:,.0f}", "computed"),
        ("cores that decode for one GPU", f"{rate / decode:.1f}", "computed from measured"),
        (f"days on {given.gpus} GPUs", f"{hours / 24 / given.gpus:,.2f}", "computed"),
        ("vectors in float16", f"{given.images * 2 * model.dim / 1e9:,.1f} GB", "counted"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=float, default=MILLION, help="pictures to embed")
    parser.add_argument("--peak", type=float, default=312, help="TFLOP/s of a GPU in bfloat16 (A100: 312)")
    parser.add_argument(
        "--utilisation", type=float, default=0.45, help="share of it that a forward pass reaches"
    )
    parser.add_argument("--price", type=float, default=2.0, help="dollars of a GPU hour")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--side", type=int, default=384, help="side of the pictures in pixels")
    parser.add_argument("--rows", type=int, default=40_000, help="rows to measure indexes with")
    given = parser.parse_args()
    console = Console(width=110)
    torch.set_num_threads(1)
    decode, size = decode_rate(given.side)
    vectors_ND = Mixture(768, 200).draw(given.rows, 1)
    rows = [
        (f"decoded and resized a second and core, {given.side} px", f"{decode:,.0f}", "measured"),
        ("bytes of such a JPEG", f"{size:,.0f}", "measured"),
        ("bytes of the pictures", f"{given.images * size / 1e9:,.0f} GB", "computed from measured"),
    ]
    for factory in STORED:
        each = bytes_per_row(factory, vectors_ND)
        total = f"{each:,.0f} a row, {each * given.images / 1e9:,.1f} GB"
        rows.append((f"FAISS {factory}, width 768", total, "measured, computed"))
    console.print(shown(f"{given.images:,.0f} pictures", rows))
    for model in models():
        console.print(shown(model.name, costs(model, given, decode)))


if __name__ == "__main__":
    main()
