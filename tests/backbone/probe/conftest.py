"""A tiny backbone and a miniature ImageNet in all its layouts."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

GOLDEN = Path(__file__).parents[2] / "golden"
# A full InternVL: backbone (64 wide, 3 layers, 56 px) and the CLIP projector.
MODEL = GOLDEN / "internvl_tiny" / "checkpoint"
CLASSES = [f"n{number:08d}" for number in range(11, 23)]
SUBSET = CLASSES[::3]


def picture(label: int, seed: int, size: tuple[int, int] = (40, 32)) -> bytes:
    """A JPEG whose colour and stripes tell its class, with noise on top."""
    random = np.random.default_rng((label, seed))
    width, height = size
    y, x = np.mgrid[:height, :width]
    colour = np.array([label % 3, label // 3 % 2, label // 6], float) * 80 + 40
    stripes = 30 * np.sin((x if label % 2 else y) * (1 + label % 4) / 3)
    pixels = colour + stripes[..., None] + random.normal(0, 12, (height, width, 3))
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def fill(folder: Path, names: list[str], count: int, seed: int, pattern: str = "{}_{}.JPEG") -> None:
    """`count` pictures in each class folder; the label is the class's place in CLASSES, or its number."""
    for name in names:
        (folder / name).mkdir(parents=True)
        label = CLASSES.index(name) if name in CLASSES else int(name)
        for i in range(count):
            (folder / name / pattern.format(name, i)).write_bytes(picture(label, seed + i))


def write_tar(path: Path, samples: list[tuple[str, dict[str, bytes]]]) -> None:
    """A plain tar of KEY.SUFFIX members."""
    with tarfile.open(path, "w") as tar:
        for key, parts in samples:
            for suffix, content in parts.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ of 12 classes, real.json, imagenetv2, imagenet-a, imagenet-r, imagenet_sketch."""
    root = tmp_path_factory.mktemp("imagenet")
    fill(root / "train", CLASSES, 6, 0)
    number = 0
    for label, name in enumerate(CLASSES):
        (root / "val" / name).mkdir(parents=True)
        for i in range(3):
            number += 1
            file = root / "val" / name / f"ILSVRC2012_val_{number:08d}.JPEG"
            file.write_bytes(picture(label, 100 + i))
    real = [[label, (label + 1) % 12] if i else [] for label in range(12) for i in range(3)]
    (root / "real.json").write_text(json.dumps(real))
    fill(root / "imagenetv2", [str(label) for label in range(12)], 2, 200)
    for seed, name in enumerate(("imagenet-a", "imagenet-r")):
        fill(root / name, SUBSET, 2, 300 + 10 * seed)
    fill(root / "imagenet_sketch", CLASSES, 2, 400)
    return root


@pytest.fixture
def model() -> Path:
    """The folder of the tiny backbone."""
    return MODEL
