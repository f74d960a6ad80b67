"""`polylens evaluate video-classification` and `video-retrieval`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..backbone.world import World
from ..clip.encoder import Encoder
from ..clip.evaluation.run import Runs, run_all
from ..clip.evaluation.video import evaluate_video_classification, evaluate_video_retrieval
from ..clip.evaluation.video_data import open_video_captions, open_video_classes
from ..demo.cache import cache_folder
from .evaluate_data import Again, Batch, Compare, Head, Limit, Model, Out, show

__all__ = ["video_classification", "video_retrieval"]

Data = Annotated[Path, typer.Option(help="Folder of the videos.")]
DataSet = Annotated[str, typer.Option(help="What the result is called: k400, msrvtt, ...")]
Frames = Annotated[int, typer.Option(min=1, help="Evenly spaced frames of each video; 1 is the middle.")]
Split = Annotated[str, typer.Option(help="The split to take, where the annotations or folders have several.")]
Missing = Annotated[bool, typer.Option("--skip-missing", help="Leave out videos that are not there.")]


def video_classification(
    data: Data,
    dataset: DataSet = "videos",
    model: Model = "mini",
    head: Head = "C",
    frames: Frames = 8,
    annotations: Annotated[
        Path | None, typer.Option(help="Kinetics' CSV file, or lines of a path and a label.")
    ] = None,
    split: Split = "val",
    classes: Annotated[Path | None, typer.Option(help="Class names: a line each, or JSON.")] = None,
    templates: Annotated[Path | None, typer.Option(help="Sentences with {c}: a line each, or JSON.")] = None,
    skip_missing: Missing = False,
    out: Out = None,
    compare: Compare = False,
    again: Again = False,
    limit: Limit = None,
    batch: Batch = 32,
) -> None:
    """Zero-shot classification of videos: top-1, top-5 and their mean.

    DATA has a folder of videos for each class, or any folders, with --annotations.
    Needs polylens\\[video].

    polylens evaluate video-classification --data k400/val --dataset k400 --frames 1 --compare

    polylens evaluate video-classification --data k400 --annotations kinetics400_val.csv --skip-missing
    """
    cache = cache_folder() / "classifiers"
    found = open_video_classes(
        data,
        annotations=annotations,
        split=split,
        classes=classes,
        templates=templates,
        skip_missing=skip_missing,
    )

    def measure(encoder: Encoder, world: World, name: str, tag: str) -> Mapping[str, float]:
        return evaluate_video_classification(
            encoder, found, frames=frames, world=world, cache=cache, limit=limit, progress=True
        )

    task = f"zeroshot_video_classification/{frames}_frames"
    runs = Runs(
        model=model, head=head, task=task, preprocess="classification", datasets=[dataset], languages=["en"],
        out=out, again=again, limit=limit, batch=batch,
    )  # fmt: skip
    show(run_all(runs, measure), compare=compare)


def video_retrieval(
    data: Data,
    annotations: Annotated[
        Path, typer.Option(help="MSR-VTT's JSON file, or a CSV file with video_id and sentence.")
    ],
    dataset: DataSet = "msrvtt",
    model: Model = "mini",
    head: Head = "C",
    frames: Frames = 8,
    split: Split = "test",
    skip_missing: Missing = False,
    out: Out = None,
    compare: Compare = False,
    again: Again = False,
    limit: Limit = None,
    batch: Batch = 32,
) -> None:
    """Retrieval between videos and their captions: recall@1, 5, 10 both ways.

    Needs polylens\\[video].

    polylens evaluate video-retrieval --data msrvtt/videos --annotations MSRVTT_JSFUSION_test.csv
    """
    found = open_video_captions(data, annotations, split=split, skip_missing=skip_missing)

    def measure(encoder: Encoder, world: World, name: str, tag: str) -> Mapping[str, float]:
        return evaluate_video_retrieval(
            encoder, found, frames=frames, world=world, limit=limit, progress=True
        )

    task = f"zeroshot_video_retrieval/{frames}_frames"
    runs = Runs(
        model=model, head=head, task=task, preprocess="retrieval", datasets=[dataset], languages=["en"],
        out=out, again=again, limit=limit, batch=batch,
    )  # fmt: skip
    show(run_all(runs, measure), compare=compare)
