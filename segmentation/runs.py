"""Training and testing by a config of mmsegmentation."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS, RUNNERS
from torch import nn

from ..backbone.checkpoint import open_weights
from ..backbone.shapes_only import shapes_only
from ..backbone.world import connect
from .backbone import InternViTBackbone
from .checks import check_checkpoint, check_data
from .errors import BadRun

SHIPPED = Path(__file__).parent / "configs"
LAUNCHERS = ("none", "pytorch", "slurm", "mpi")


@dataclass(frozen=True)
class Options:
    """What mmengine's command line says beside the config."""

    work_dir: Path | None = None
    settings: Sequence[str] = ()  # "key.of.config=value"
    resume: bool = False
    amp: bool = False
    launcher: str = "none"


def shipped_configs() -> list[str]:
    """The names of the configs inside the package, as `load_config` takes them."""
    files = (file.relative_to(SHIPPED) for file in SHIPPED.rglob("*.py"))
    return sorted(str(file.with_suffix("")) for file in files if file.parts[0] != "_base_")


def load_config(source: str | Path, options: Options | None = None) -> Config:
    """The config of a file, or of a name among the shipped ones, with the options put in."""
    options = options or Options()
    shipped = SHIPPED / f"{source}.py"
    path = Path(source) if Path(source).is_file() or not shipped.is_file() else shipped
    if not path.is_file():
        raise BadRun(f"{source} is neither a config file nor one of: {', '.join(shipped_configs())}")
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--settings", nargs="*", action=DictAction, default={})
    wrong = [setting for setting in options.settings if "=" not in setting]
    if wrong:
        raise BadRun(f"--cfg-options are key=value, got {', '.join(wrong)}")
    try:
        config = Config.fromfile(path)
        config.merge_from_dict(parser.parse_args(["--settings", *options.settings]).settings)
    except Exception as error:  # a config is a program: anything can come out of it
        raise BadRun(f"{path} is no usable config: {type(error).__name__}: {error}") from error
    config.launcher = options.launcher
    config.work_dir = str(options.work_dir or config.get("work_dir") or Path("work_dirs") / path.stem)
    return config


def train(config: Config, options: Options | None = None) -> Path:
    """The folder with checkpoints and log, after the training that the config describes."""
    options = options or Options()
    check_run(config, ("train", "val"))
    connect_on_cpu(config)
    if options.amp:
        if get_device() == "cpu":
            raise BadRun("--amp needs an accelerator; on a CPU use model.backbone.precision=bfloat16")
        config.optim_wrapper.type = "AmpOptimWrapper"
        config.optim_wrapper.setdefault("loss_scale", "dynamic")
    config.resume = options.resume
    runner = RUNNERS.build(config) if "runner_type" in config else Runner.from_cfg(config)
    runner.train()
    return Path(config.work_dir)


def test(config: Config, checkpoint: str | Path, *, out: Path | None = None) -> dict[str, float]:
    """The metrics of a checkpoint on the test set; predictions go to the folder `out` as PNG files."""
    model = check_run(config, ("test",))
    check_checkpoint(model, open_weights(checkpoint), str(checkpoint))
    config.load_from = str(checkpoint)
    connect_on_cpu(config)
    if out is not None:
        config.test_evaluator = {**config.test_evaluator, "output_dir": str(out)}
    metrics: dict[str, float] = Runner.from_cfg(config).test()
    return metrics


def connect_on_cpu(config: Config) -> None:
    """Nothing; the processes that torchrun started on a machine without an accelerator are then connected.

    mmengine does it by itself on GPUs, and on none of them for want of a GPU.
    """
    if config.get("launcher") == "pytorch" and get_device() == "cpu" and not is_distributed():
        connect("gloo")


def check_run(config: Config, parts: Sequence[str]) -> nn.Module:
    """The config's model without weights, after everything that can be checked before a step was."""
    needed = ["model", *(f"{part}_dataloader" for part in parts if part != "val")]
    missing = [key for key in needed if config.get(key) is None]
    if missing:
        raise BadRun(f"the config has no {', '.join(missing)}")
    model = model_without_weights(config)
    loaders = [config.get(f"{part}_dataloader") for part in parts]
    check_data(model, [dataset_of(loader) for loader in loaders if loader is not None])
    return model


def model_without_weights(config: Config) -> nn.Module:
    """The segmentor with parameters on the meta device, after a pass of shapes through it when it is ours."""
    init_default_scope(config.get("default_scope", "mmseg"))
    try:
        with shapes_only():
            model: nn.Module = MODELS.build(config.model)
        backbone = getattr(model, "backbone", None)
        if isinstance(backbone, InternViTBackbone):
            check_sizes(backbone.native.patch_size, config)
            backbone.vit.float()  # there is no autocast of shapes
            backbone.precision = torch.float32
            model.eval()(torch.empty(1, 3, *[backbone.image_size] * 2, device="meta"))
    except Exception as error:
        raise BadRun(f"the config's model cannot be built: {type(error).__name__}: {error}") from error
    return model


def check_sizes(patch: int, config: Config) -> None:
    """Nothing, or `BadRun` when a crop of the config is no multiple of the backbone's patches."""
    crops = {
        "model.data_preprocessor.size": config.model.get("data_preprocessor", {}).get("size"),
        "model.test_cfg.crop_size": config.model.get("test_cfg", {}).get("crop_size"),
    }
    for name, crop in crops.items():
        if crop is not None and any(side % patch for side in crop):
            raise BadRun(f"{name} is {tuple(crop)}, expected multiples of the patch size {patch}")


def dataset_of(loader: ConfigDict) -> Any:
    """The data set that a dataloader of the config describes."""
    try:
        return DATASETS.build(loader.dataset)
    except Exception as error:
        if isinstance(error, ValueError) and "at least one array" in str(error):  # numpy's words for no entry
            folder = Path(loader.dataset.get("data_root") or "", loader.dataset.data_prefix.img_path)
            raise BadRun(f"the config's data set has no images in {folder}") from error
        raise BadRun(f"the config's data set cannot be read: {type(error).__name__}: {error}") from error
