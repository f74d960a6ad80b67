"""Puts a trained model into the package: positions at the size it was trained at, weights as float16.

usage: python recipes/mini/pack.py MODEL OUT --image-size 84
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from polylens.backbone.positions import resize_positions
from polylens.clip.internvl_c import InternVLC

LIMIT = 25_000_000  # bytes


def main() -> None:
    help_as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=help_as_written)
    parser.add_argument("model", type=Path, help="folder written by polylens train")
    parser.add_argument("out", type=Path, help="the package's folder clip/mini")
    parser.add_argument("--image-size", type=int, required=True, help="side of the training images in pixels")
    arguments = parser.parse_args()
    model = InternVLC.from_pretrained(arguments.model, dtype=torch.float32, device="cpu")
    set_image_size(model, arguments.image_size)
    model.half().save_pretrained(arguments.out)
    shutil.copy(arguments.model / "tokenizer.model", arguments.out)
    size = (arguments.out / "model.safetensors").stat().st_size
    if size > LIMIT:
        raise SystemExit(f"the weights have {size} bytes, more than {LIMIT}")
    print(f"{size} bytes of weights")


@torch.no_grad()
def set_image_size(model: InternVLC, size: int) -> None:
    """Stores the positions that the model computes for pictures of `size` pixels, in place."""
    embeddings = model.vision_model.embeddings
    grid = size // embeddings.patch_size
    embeddings.position_embedding = torch.nn.Parameter(
        resize_positions(embeddings.position_embedding, grid, grid).clone()
    )
    vision = replace(model.config.vision_config, image_size=size)
    model.config = replace(model.config, vision_config=vision)
    model.vision_model.config = vision


if __name__ == "__main__":
    main()
