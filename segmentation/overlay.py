"""Pictures of a segmentation.

Letters of the shapes: H and W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont


@dataclass(frozen=True)
class Legend:
    """The classes of a data set: names, and a colour (red, green, blue) for each."""

    names: Sequence[str]
    palette: Sequence[Sequence[int]]


def shares(classes_HW: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The share of the pixels of each class that occurs, largest first; 255 (no class) counts for none."""
    counts = np.bincount(classes_HW.ravel(), minlength=256)[: len(names)]
    order = np.argsort(-counts, kind="stable")
    return {names[index]: float(counts[index] / classes_HW.size) for index in order if counts[index]}


def class_map(classes_HW: np.ndarray, legend: Legend) -> Image.Image:
    """A picture with palette whose values are the class numbers; 255 is black."""
    picture = Image.fromarray(classes_HW.astype(np.uint8))
    colours = [channel for colour in legend.palette for channel in colour]
    picture.putpalette([*colours, *[0] * (768 - len(colours))])
    return picture


def overlay(image: Image.Image, classes_HW: np.ndarray, legend: Legend, opacity: float = 0.5) -> Image.Image:
    """The image under the colours of its classes, with a legend of those that occur at the right."""
    coloured = class_map(classes_HW, legend).convert("RGB")
    mixed = Image.blend(image.convert("RGB"), coloured, opacity)
    found = shares(classes_HW, legend.names)
    size = max(11, min(20, image.height // 14))
    font = ImageFont.load_default(size=size)
    lines = [f"{name}  {share:.1%}" for name, share in found.items()]
    text = max((int(font.getlength(line)) for line in lines), default=0)
    height = max(image.height, (len(lines) + 1) * (size + 6))
    sheet = Image.new("RGB", (image.width + text + 3 * size, height), "white")
    sheet.paste(mixed, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for row, (name, line) in enumerate(zip(found, lines, strict=True)):
        left, top = image.width + size // 2, size // 2 + row * (size + 6)
        colour = tuple(int(channel) for channel in legend.palette[list(legend.names).index(name)])
        pen.rectangle((left, top, left + size, top + size), fill=colour, outline="black")
        pen.text((left + size + size // 2, top + size / 2), line, fill="black", font=font, anchor="lm")
    return sheet
