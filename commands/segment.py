"""`polylens segment`: semantic segmentation by configs of mmsegmentation."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .. import segmentation  # noqa: F401  registers ours and mends mmseg before anything imports it
from ..segmentation.drawn import write
from ..segmentation.predict import predict as run_predict
from ..segmentation.runs import Options, load_config, shipped_configs
from ..segmentation.runs import test as run_test
from ..segmentation.runs import train as run_train

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True)

CONFIG = typer.Argument(help="A config file, or the name of one in the package: polylens segment configs.")
CHECKPOINT = typer.Argument(help="A checkpoint of a training.", exists=True)
SETTINGS = typer.Option("--cfg-options", help="key.of.the.config=value; may be repeated.")
WORK_DIR = typer.Option(help="Folder for log and checkpoints; without it work_dirs/NAME.")
# As with mmengine, several settings may follow one --cfg-options.
MORE = {"allow_extra_args": True}


class Launcher(StrEnum):
    """What started the processes."""

    none = "none"
    pytorch = "pytorch"
    slurm = "slurm"
    mpi = "mpi"


@app.callback()
def segment() -> None:
    """Train and use a model that gives each pixel a class."""


@app.command(context_settings=MORE)
def train(
    ctx: typer.Context,
    config: Annotated[str, CONFIG],
    work_dir: Annotated[Path | None, WORK_DIR] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder.")
    ] = False,
    amp: Annotated[bool, typer.Option("--amp", help="Automatic mixed precision.")] = False,
    cfg_options: Annotated[list[str] | None, SETTINGS] = None,
    launcher: Annotated[Launcher, typer.Option(help="For several processes.")] = Launcher.none,
) -> None:
    """Train by a config: a published recipe, or any of mmsegmentation's.

    polylens segment train tiny/linear_frozen --work-dir runs/linear

    polylens segment train my_config.py --resume --cfg-options train_dataloader.batch_size=4
    """
    options = Options(work_dir, extra(ctx, cfg_options), resume=resume, amp=amp, launcher=launcher.value)
    typer.echo(f"checkpoints: {run_train(load_config(config, options), options)}")


@app.command(context_settings=MORE)
def test(
    ctx: typer.Context,
    config: Annotated[str, CONFIG],
    checkpoint: Annotated[Path, CHECKPOINT],
    work_dir: Annotated[Path | None, WORK_DIR] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the predictions, as mask files of the data set.")
    ] = None,
    cfg_options: Annotated[list[str] | None, SETTINGS] = None,
    launcher: Annotated[Launcher, typer.Option(help="For several processes.")] = Launcher.none,
) -> None:
    """Measure a checkpoint on the config's test set: mean IoU and accuracy, and those of each class.

    polylens segment test tiny/linear_frozen runs/linear/iter_400.pth
    """
    options = Options(work_dir, extra(ctx, cfg_options), launcher=launcher.value)
    for name, value in run_test(load_config(config, options), checkpoint, out=out).items():
        typer.echo(f"{name:16} {value:.2f}")


@app.command()
def predict(
    config: Annotated[str, CONFIG],
    checkpoint: Annotated[Path, CHECKPOINT],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("segmented"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    cfg_options: Annotated[list[str] | None, SETTINGS] = None,
) -> None:
    """Segment images: an overlay picture with a legend, a class map and the classes' shares.

    polylens segment predict tiny/linear_frozen runs/linear/iter_400.pth data/drawn/images/validation
    """
    loaded = load_config(config, Options(settings=cfg_options or ()))
    for found in run_predict(loaded, checkpoint, images, out, device=device):
        shares = ", ".join(f"{name} {share:.1%}" for name, share in found.shares.items())
        typer.echo(f"{found.overlay}: {shares}")


@app.command()
def draw(
    folder: Annotated[Path, typer.Argument(help="Where the data set goes.")],
    training: Annotated[int, typer.Option(help="Training images.", min=1)] = 400,
    validation: Annotated[int, typer.Option(help="Validation images.", min=1)] = 60,
    seed: Annotated[int, typer.Option(help="Another seed draws other images.")] = 0,
) -> None:
    """Draw a small data set in ADE20K's layout, which the tiny configs learn.

    polylens segment draw data/drawn
    """
    write(folder, training=training, validation=validation, seed=seed)
    typer.echo(f"{training} images for training and {validation} for validation in {folder}")


@app.command()
def configs() -> None:
    """List the configs in the package, by the names that the other commands take.

    polylens segment configs
    """
    for name in shipped_configs():
        typer.echo(name)


def extra(ctx: typer.Context, settings: list[str] | None) -> list[str]:
    """All settings, those behind the first of a --cfg-options too."""
    if ctx.args and not (settings and all("=" in item and item[0] != "-" for item in ctx.args)):
        raise typer.BadParameter(f"unexpected arguments: {' '.join(ctx.args)}")
    return [*(settings or ()), *ctx.args]
