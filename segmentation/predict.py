"""Class maps and overlay pictures of images, by a trained checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from PIL import Image, ImageOps, UnidentifiedImageError

from ..backbone.checkpoint import open_weights
from ..backbone.device import pick_device
from .checks import check_checkpoint
from .errors import BadRun
from .overlay import Legend, class_map, overlay, shares
from .runs import check_run

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


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
    model = check_run(config, ())
    check_checkpoint(model, open_weights(checkpoint), str(checkpoint))
    if config.get("test_pipeline") is None:
        if config.get("test_dataloader") is None:
            raise BadRun("the config has neither test_pipeline nor test_dataloader")
        config.test_pipeline = config.test_dataloader.dataset.pipeline
    files = image_files(images)
    network = init_model(config, str(checkpoint), device=str(pick_device(device)))
    meta = network.dataset_meta
    legend = Legend(names=meta["classes"], palette=meta["palette"])
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        try:
            with Image.open(file) as opened:
                # mmcv turns a picture upright too.
                image = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, UnidentifiedImageError) as error:
            raise BadRun(f"{file} is no readable image: {error}") from error
        found = inference_model(network, str(file)).pred_sem_seg.data[0]
        classes_HW = found.cpu().numpy().astype(np.uint8)
        pictures = out / f"{file.stem}_overlay.png", out / f"{file.stem}_classes.png"
        overlay(image, classes_HW, legend).save(pictures[0])
        class_map(classes_HW, legend).save(pictures[1])
        yield Prediction(file, shares(classes_HW, legend.names), *pictures)


def image_files(sources: Sequence[Path]) -> list[Path]:
    """The images that files and folders stand for, in order."""
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            files += sorted(file for file in source.rglob("*") if file.suffix.lower() in IMAGES)
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
