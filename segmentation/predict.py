"""Class maps and overlay pictures of images, by a trained checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ..backbone.images import SUFFIXES, open_image
from ..backbone.pixels import on_white, upright
from ..errors import InvalidInput
from .errors import BadRun
from .overlay import class_map, overlay, shares
from .segmenter import Segmenter


@dataclass(frozen=True)
class Prediction:
    """What was found in one image, and where the pictures are."""

    image: Path
    shares: dict[str, float]  # of the pixels, by class, the largest first
    overlay: Path
    class_map: Path


def predict(
    config: Config, checkpoint: str | Path, images: Sequence[Path], out: Path, *, device: str = "auto"
) -> Iterator[Prediction]:
    """One prediction for each image (folders are searched), the pictures already in the folder `out`."""
    files = image_files(images)
    segmenter = Segmenter(config, checkpoint, device=device)
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        try:
            image = on_white(upright(open_image(file)))
        except InvalidInput as error:
            raise BadRun(f"{file} is no readable image: {error}") from error
        classes_HW = segmenter.classes(segmenter.prepare(image))
        pictures = out / f"{file.stem}_overlay.png", out / f"{file.stem}_classes.png"
        overlay(image, classes_HW, segmenter.legend).save(pictures[0])
        class_map(classes_HW, segmenter.legend).save(pictures[1])
        yield Prediction(file, shares(classes_HW, segmenter.names), *pictures)


def image_files(sources: Sequence[Path]) -> list[Path]:
    """The images that files and folders stand for, in order."""
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            files += sorted(file for file in source.rglob("*") if file.suffix.lower() in SUFFIXES)
        elif source.is_file():
            files.append(source)
        else:
            raise BadRun(f"{source} does not exist")
    stems = [file.stem for file in files]
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    if doubled or not files:
        wrong = f"several images are called {', '.join(doubled)}" if doubled else "there are no images"
        raise BadRun(f"{wrong} in {', '.join(map(str, sources))}")
    return files
