"""A small data set in ADE20K's layout, drawn: textured grounds and shapes, each pixel's class known.

Nothing in it is noise to be learned by heart: a class is a texture (grounds) or a form (shapes) in changing
colours, sizes, places and light, so a model has to look at more than one pixel.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

# File value = place in this list + 1; 0 is "no class" as in ADE20K. The first four are grounds.
CLASSES = ("stripes", "checks", "dots", "plain", "disc", "square", "triangle", "ring")
PALETTE = [
    [120, 120, 120], [180, 120, 120], [6, 230, 230], [80, 50, 50],
    [4, 200, 3], [204, 5, 255], [235, 255, 7], [255, 6, 82],
]  # fmt: skip
GROUNDS = 4


def draw(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image uint8 (H, W, 3) and its mask uint8 (H, W): two grounds, up to three shapes, an empty rim."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.2, 0.2) * width
    beyond = (columns - width / 2) * np.cos(angle) + (rows - height / 2) * np.sin(angle) > offset
    one, two = rng.choice(GROUNDS, size=2, replace=False)
    mask = np.where(beyond, one + 1, two + 1).astype(np.uint8)
    image = np.where(beyond[..., None], ground(rng, one, rows, columns), ground(rng, two, rows, columns))
    for _ in range(rng.integers(1, 4)):
        kind = int(rng.integers(GROUNDS, len(CLASSES)))
        inside = shape(rng, kind, rows, columns)
        image[inside] = colour(rng)
        mask[inside] = kind + 1
    light = rng.uniform(0.75, 1.15) + 0.2 * (columns / width - 0.5) * rng.choice([-1, 1])
    image = image * light[..., None] + rng.normal(0, 4, image.shape)
    mask[:2] = 0  # a border without a class
    return image.clip(0, 255).astype(np.uint8), mask


def colour(rng: np.random.Generator) -> np.ndarray:
    """Red, green and blue, float32 (3,) in [30, 225)."""
    return rng.uniform(30, 225, size=3).astype(np.float32)


def ground(rng: np.random.Generator, kind: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A textured plane, float32 (H, W, 3)."""
    first, second = colour(rng), colour(rng)
    if np.abs(first - second).max() < 70:
        second = 255 - first
    period, angle = rng.uniform(12, 24), rng.uniform(0, np.pi)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = -columns * np.sin(angle) + rows * np.cos(angle)
    if CLASSES[kind] == "stripes":
        on = np.sin(2 * np.pi * along / period) > 0
    elif CLASSES[kind] == "checks":
        on = (np.floor(along / period * 2) + np.floor(across / period * 2)) % 2 == 0
    elif CLASSES[kind] == "dots":
        on = np.hypot(along % period - period / 2, across % period - period / 2) < period / 4
    else:
        on = np.zeros(rows.shape, dtype=bool)
    plane: np.ndarray = np.where(on[..., None], first, second)
    return plane


def shape(rng: np.random.Generator, kind: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Which pixels a shape covers, bool (H, W)."""
    height, width = rows.shape
    size = rng.uniform(0.25, 0.4) * min(height, width)
    y = rows - rng.uniform(size, height - size)
    x = columns - rng.uniform(size, width - size)
    turn, distance = rng.uniform(0, np.pi), np.hypot(x, y)
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    forms = {
        "disc": distance < size,
        "ring": (distance < size) & (distance > 0.55 * size),
        "square": (np.abs(x) < 0.85 * size) & (np.abs(y) < 0.85 * size),
        "triangle": (y > -0.6 * size) & (y + 1.9 * np.abs(x) < size),
    }
    inside: np.ndarray = forms[CLASSES[kind]]
    return inside


def write(
    folder: Path, *, training: int, validation: int, seed: int = 0, size: Sequence[int] = (112, 140)
) -> None:
    """Nothing; the folder then has images/ and annotations/, each with training/ and validation/."""
    rng = np.random.default_rng(seed)
    for part, count in (("training", training), ("validation", validation)):
        for name in ("images", "annotations"):
            (folder / name / part).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, mask = draw(rng, size[0], size[1])
            stem = f"drawn_{part}_{index:05d}"
            Image.fromarray(image).save(folder / "images" / part / f"{stem}.jpg", quality=95)
            Image.fromarray(mask).save(folder / "annotations" / part / f"{stem}.png")
