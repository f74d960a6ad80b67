"""Copies a trained model into the package, its weights as float16.

usage: python recipes/mini/pack.py MODEL clip/mini
"""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

LIMIT = 25_000_000  # bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder written by polylens train")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    weights = load_file(arguments.model / "model.safetensors")
    target = arguments.out / "model.safetensors"
    save_file({name: weight.to(torch.float16) for name, weight in weights.items()}, target)
    for name in ("config.json", "tokenizer.model"):
        shutil.copy(arguments.model / name, arguments.out / name)
    size = target.stat().st_size
    if size > LIMIT:
        raise SystemExit(f"{target} has {size} bytes, more than {LIMIT}")
    print(f"{target}: {size} bytes")


if __name__ == "__main__":
    main()
