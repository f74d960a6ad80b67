"""`polylens evaluate classification` and `retrieval`: data sets in their published layouts."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..backbone.world import World
from ..clip.encoder import Encoder
from ..clip.evaluation.captioned import open_captioned
from ..clip.evaluation.classification import evaluate_classification
from ..clip.evaluation.image_text import evaluate_retrieval
from ..clip.evaluation.labelled import Choice, open_labelled
from ..clip.evaluation.published import published_beside
from ..clip.evaluation.results import long_table
from ..clip.evaluation.run import Runs, run_all
from ..demo.cache import cache_folder

Model = Annotated[str, typer.Option(help="mini, a folder, a hub id, hf:... or open_clip:...")]
Head = Annotated[str, typer.Option(help="InternVL's image vectors: C or G.")]
Data = Annotated[str, typer.Option(help="Where it lies; {dataset} stands for the data set's name.")]
Languages = Annotated[str, typer.Option(help="One or more, such as en,zh,ja,ar,it.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the results, a JSON file for each.")]
Compare = Annotated[bool, typer.Option("--compare", help="Print the published rows beneath.")]
Again = Annotated[bool, typer.Option("--again", help="Also run what is finished in --out.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only so many images, to try it out.")]
Batch = Annotated[int, typer.Option(min=1, help="Images and texts at a time.")]


def classification(
    data: Data,
    dataset: Annotated[str, typer.Option(help="imagenet1k, cifar10, wds/NAME, folder, ...; or several.")],
    model: Model = "mini",
    head: Head = "C",
    language: Languages = "en",
    split: Annotated[str, typer.Option(help="Of data sets that have several.")] = "test",
    classes: Annotated[Path | None, typer.Option(help="Class names: a line each, or JSON.")] = None,
    templates: Annotated[Path | None, typer.Option(help="Sentences with {c}: a line each, or JSON.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let torchvision fetch what it can.")] = False,
    out: Out = None,
    compare: Compare = False,
    again: Again = False,
    limit: Limit = None,
    batch: Batch = 32,
) -> None:
    """Zero-shot classification: top-1, top-5, mean per-class recall.

    The data sets are ImageNet's family (imagenet1k, imagenet-real, imagenetv2,
    imagenet_sketch, imagenet-a, imagenet-r, objectnet), all others that the
    package clip-benchmark knows, webdatasets, and any folder of class folders.
    Several GPUs: torchrun --nproc-per-node 8 -m polylens evaluate ...

    polylens evaluate classification --dataset imagenet1k --data /data/imagenet --compare

    polylens evaluate classification --dataset folder --data ~/Pictures/sorted
    """
    cache = cache_folder() / "classifiers"
    chosen = partial(Choice, split=split, classes=classes, templates=templates, download=download)

    def measure(encoder: Encoder, world: World, name: str, tag: str) -> Mapping[str, float]:
        found = open_labelled(chosen(name=name, root=data_root(data, name), language=tag))
        return evaluate_classification(encoder, found, world=world, cache=cache, limit=limit, progress=True)

    runs = Runs(
        model=model,
        head=head,
        task="zeroshot_classification",
        preprocess="classification",
        datasets=names(dataset, "--dataset"),
        languages=names(language, "--language"),
        out=out,
        again=again,
        limit=limit,
        batch=batch,
    )
    show(run_all(runs, measure), compare=compare)


def retrieval(
    data: Data,
    dataset: Annotated[str, typer.Option(help="flickr30k, mscoco_captions, xtd10, wds/NAME, folder, ...")],
    model: Model = "mini",
    head: Head = "C",
    language: Languages = "en",
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    captions: Annotated[Path | None, typer.Option(help="The caption file, where it lies elsewhere.")] = None,
    out: Out = None,
    compare: Compare = False,
    again: Again = False,
    limit: Limit = None,
    batch: Batch = 32,
) -> None:
    """Retrieval between images and captions: recall@1, 5, 10 both ways.

    polylens evaluate retrieval --dataset flickr30k --data /data/flickr30k --language en,zh --compare

    polylens evaluate retrieval --dataset folder --data ~/Pictures/with-captions
    """

    def measure(encoder: Encoder, world: World, name: str, tag: str) -> Mapping[str, float]:
        found = open_captioned(name, data_root(data, name), language=tag, split=split, captions=captions)
        return evaluate_retrieval(encoder, found, world=world, limit=limit, progress=True)

    runs = Runs(
        model=model,
        head=head,
        task="zeroshot_retrieval",
        preprocess="retrieval",
        datasets=names(dataset, "--dataset"),
        languages=names(language, "--language"),
        out=out,
        again=again,
        limit=limit,
        batch=batch,
    )
    show(run_all(runs, measure), compare=compare)


def show(found: list[dict[str, Any]] | None, *, compare: bool) -> None:
    """Nothing; the results stand in a table, and with `compare` the published rows beneath each."""
    shown = []
    for content in found or ():
        shown.append(content)
        if compare:
            beside = published_beside(content["task"], content["dataset"], content["language"])
            shown += [vars(row) | {"model": f"published: {row.system}"} for row in beside]
    if not shown:
        return  # one of torchrun's other processes
    heading, rows = long_table(shown)
    table = Table(*(name.replace("_retrieval_recall", " R") for name in heading), box=None)
    for row in rows:
        table.add_row(*row, style="dim" if row[0].startswith("published: ") else None)
    Console().print(table)


def names(text: str, option: str) -> list[str]:
    """The names of a list separated by commas, each once."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise typer.BadParameter(f"{option}: expected names, separated by commas, got {text!r}")
    return list(dict.fromkeys(found))


def data_root(data: str, dataset: str) -> Path:
    """The folder of the data set."""
    return Path(data.replace("{dataset}", dataset.removeprefix("wds/"))).expanduser()
