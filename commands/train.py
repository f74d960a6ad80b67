"""`polylens train`: training runs described by a TOML file."""

from pathlib import Path
from typing import Annotated

import typer

from ..clip.training.config import TrainConfig
from ..clip.training.run import train as run_training

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def train() -> None:
    """Train a model."""


@app.command()
def contrastive(
    config: Annotated[Path, typer.Argument(help="TOML file of the run: data, model, steps, rates, losses.")],
    out: Annotated[
        Path, typer.Argument(help="Folder for checkpoints, log, loss curve and the trained model.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in OUT.")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, instead of the file's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a step, instead of the file's.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of weights and data order, instead of the file's.")
    ] = None,
) -> None:
    """Train InternVL-C on image-text pairs (webdataset tars or parquet tables).

    Every setting is explained in docs/training.md. On several GPUs, start it with torchrun. A killed run
    goes on with --resume and ends at the same weights.

    polylens train contrastive recipes/mini/train.toml runs/mini

    polylens train contrastive recipes/mini/train.toml runs/mini --resume
    """
    settings = TrainConfig.from_toml(config, steps=steps, batch_size=batch_size, seed=seed)
    model = run_training(settings, out, resume=resume)
    typer.echo(f"trained model: {model}")
