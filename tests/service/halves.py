"""A segmenter that needs no weights."""

import numpy as np
from PIL import Image


class Halves:
    """Class 1 (light) where a pixel is bright, else class 0 (dark); a picture of one pixel fails."""

    fingerprint, names, palette = "5" * 64, ("dark", "light"), ((0, 0, 64), (255, 200, 0))

    def __init__(self) -> None:
        self.modes: list[str] = []

    def prepare(self, picture: Image.Image) -> np.ndarray:
        self.modes.append(picture.mode)
        return np.asarray(picture.convert("L"))

    def segment(self, grey_HW: np.ndarray) -> tuple[Image.Image, dict[str, float]]:
        if grey_HW.size == 1:
            raise RuntimeError("a secret of the server at /secret/path")
        classes_HW = (grey_HW > 128).astype(np.uint8)
        found = Image.fromarray(classes_HW)
        found.putpalette([channel for colour in self.palette for channel in colour])
        parts = {name: float((classes_HW == index).mean()) for index, name in enumerate(self.names)}
        return found, {name: part for name, part in sorted(parts.items(), key=lambda p: -p[1]) if part}
