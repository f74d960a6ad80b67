"""What can be known to be wrong before the first step: classes, files, mask values, checkpoints."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.fileio import exists
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS
from PIL import Image
from torch import Tensor, nn

from .backbone import InternViTBackbone
from .errors import BadRun
from .names import to_ours

IGNORED = 255  # mmseg's value for pixels without a class
SHOWN = 5  # faults of one kind that a message lists
LOOKED_AT = 2000  # masks of a data set: all of a small one; some 5 ms each, so seconds


@HOOKS.register_module(name="CheckBeforeTraining")
class CheckBeforeTraining(Hook):  # type: ignore[misc]  # mmengine has no types
    """Refuses a run whose data set and model do not fit, in the main process and before the first step.

    All files of the data sets must exist; `masks` of each are opened, evenly spread over it.
    """

    def __init__(self, masks: int = LOOKED_AT) -> None:
        self.masks = masks

    def before_train(self, runner: Any) -> None:
        """Nothing, or `BadRun`."""
        loops = [runner.train_loop, *([runner.val_loop] if runner.val_loop is not None else [])]
        self.check(runner.model, [loop.dataloader.dataset for loop in loops])

    def before_test(self, runner: Any) -> None:
        """Nothing, or `BadRun`."""
        self.check(runner.model, [runner.test_loop.dataloader.dataset])

    def check(self, model: nn.Module, datasets: Sequence[Any]) -> None:
        """Nothing, or `BadRun`."""
        if is_main_process():
            inner = model.get_submodule("module") if is_model_wrapper(model) else model
            check_data(inner, datasets, self.masks)


def check_data(model: nn.Module, datasets: Sequence[Any], masks: int = LOOKED_AT) -> None:
    """Nothing, or `BadRun` when heads and data sets differ in their classes, or files are not in order."""
    faults = [
        fault
        for dataset in datasets
        for fault in [*class_faults(model, dataset), *file_faults(dataset, masks)]
    ]
    if faults:
        raise BadRun("\n".join(["this run cannot work:", *(f"  {fault}" for fault in faults)]))


def class_faults(model: nn.Module, dataset: Any) -> Iterator[str]:
    """A sentence for each head whose number of classes is not the data set's."""
    classes = dataset.metainfo.get("classes")
    if classes is None:
        yield f"{type(dataset).__name__} names no classes: set metainfo=dict(classes=..., palette=...)"
        return
    for name, head in model.named_modules():
        wanted = getattr(head, "num_classes", None)
        if name.split(".")[0] in ("decode_head", "auxiliary_head") and isinstance(wanted, int):
            if wanted != len(classes):
                yield f"{name} has num_classes={wanted}, the data set has {len(classes)} classes"


def file_faults(dataset: Any, masks: int) -> Iterator[str]:
    """Sentences about what is missing or wrong in the files; those of one kind are shortened to a few."""
    if len(dataset) == 0:
        yield f"{type(dataset).__name__} found no images{where(dataset)}"
        return
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    backend = getattr(dataset, "backend_args", None)
    for kind, key in (("images", "img_path"), ("masks", "seg_map_path")):
        absent = [
            entry[key] for entry in entries if key in entry and not exists(entry[key], backend_args=backend)
        ]
        if absent:
            yield f"{len(absent)} of {len(entries)} {kind} are missing: {few(absent)}"
            return
    if backend is None:
        picked = sorted(set(np.linspace(0, len(entries) - 1, min(masks, len(entries)), dtype=int).tolist()))
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
            looks = pool.map(lambda index: list(mask_faults(entries[index], dataset)), picked)
            wrong = [fault for found in looks for fault in found]
        if wrong:
            yield f"{len(wrong)} of {len(picked)} masks looked at are wrong: {few(wrong)}"


def mask_faults(entry: Mapping[str, Any], dataset: Any) -> Iterator[str]:
    """A sentence when the mask of an entry is not one channel of class numbers in the image's size."""
    path = entry.get("seg_map_path")
    if path is None:
        return
    try:
        with Image.open(path) as mask, Image.open(entry["img_path"]) as image:
            sizes, values = (mask.size, image.size), values_of(mask)
            channels = mask.getbands()
    except OSError as error:
        yield f"{path} is unreadable ({error})"
        return
    highest = highest_value(dataset)
    strange = [value for value in values if not 0 <= value <= highest and value != IGNORED]
    if len(channels) != 1:
        yield f"{path} has channels {'/'.join(channels)}, expected one with class numbers"
    elif strange:
        yield f"{path} holds {few(strange)}, expected 0 to {highest} or {IGNORED}"
    elif sizes[0] != sizes[1]:
        yield f"{path} is {sizes[0][0]}x{sizes[0][1]}, its image {sizes[1][0]}x{sizes[1][1]}"


def values_of(mask: Image.Image) -> list[int]:
    """The values that occur, rising."""
    if mask.mode in ("L", "P"):  # in half the time of sorting them all
        return [value for value, count in enumerate(mask.histogram()) if count]
    return [int(value) for value in np.unique(np.asarray(mask))]


def highest_value(dataset: Any) -> int:
    """The largest class number a mask file may hold."""
    meta = dataset.metainfo
    # With a label map, files count the classes of the whole data set, of which metainfo has some.
    classes = len(meta["label_map"]) if meta.get("label_map") else len(meta.get("classes") or ())
    return classes if meta.get("reduce_zero_label") else classes - 1


def where(dataset: Any) -> str:
    """The words " in FOLDER" for a data set that has one."""
    folder = getattr(dataset, "data_prefix", {}).get("img_path")
    return f" in {folder}" if folder else ""


def few(items: Sequence[Any]) -> str:
    """The first items in one line."""
    more = f", and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(map(str, items[:SHOWN])) + more


def check_checkpoint(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Nothing, or `BadRun` with what a checkpoint lacks, has too much or in another shape.

    mmengine itself loads what fits and goes on with fresh weights for the rest.
    """
    given = dict(state)
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, InternViTBackbone):
        to_ours(given, "backbone.", backbone.vit.embeddings.position_embedding)
    wanted = model.state_dict()
    lists = {
        "missing": [name for name in wanted if name not in given and "num_batches_tracked" not in name],
        "unexpected": [name for name in given if name not in wanted],
        "wrong shape": [
            f"{name} is {tuple(tensor.shape)}, expected {tuple(wanted[name].shape)}"
            for name, tensor in given.items()
            if name in wanted and tensor.shape != wanted[name].shape
        ],
    }
    lines = [f"  {kind} ({len(names)}): {few(names)}" for kind, names in lists.items() if names]
    if lines:
        raise BadRun("\n".join([f"{source} does not fit the config's model:", *lines]))
