"""`polylens evaluate captioning`: sentences of InternVL-G against those that people wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..backbone.world import World
from ..clip.captioning import Wording
from ..clip.encoder import Encoder
from ..clip.evaluation.captioned import open_captioned
from ..clip.evaluation.captioning import evaluate_captioning
from ..clip.evaluation.run import Runs, run_all
from ..clip.reader import PROMPT
from .evaluate_data import Again, Batch, Compare, Data, Languages, Limit, Model, Out, data_root, names, show


def captioning(
    data: Data,
    dataset: Annotated[str, typer.Option(help="mscoco_captions, flickr30k, nocaps, wds/NAME, folder.")],
    model: Model,
    language: Languages = "en",
    split: Annotated[str, typer.Option(help="test or val.")] = "test",
    captions: Annotated[Path | None, typer.Option(help="The caption file, where it lies elsewhere.")] = None,
    prompt: Annotated[str, typer.Option(help="What the sentences go on from.")] = PROMPT,
    beams: Annotated[int, typer.Option(min=1, help="Sentences weighed against each other.")] = 5,
    out: Out = None,
    compare: Compare = False,
    again: Again = False,
    limit: Limit = None,
    batch: Batch = 16,
) -> None:
    """Captions: BLEU, METEOR, ROUGE-L, CIDEr and SPICE of pycocoevalcap.

    The model must be an InternVL-G. METEOR, SPICE and the tokenizer of the
    published figures are Java programs; without Java the first two are left
    out and words are told apart in a plainer way, which is said.

    polylens evaluate captioning --dataset nocaps --split val --data /data/nocaps --model /models/internvl
    """
    missing: dict[str, str] = {}

    def measure(encoder: Encoder, world: World, name: str, tag: str) -> Mapping[str, float]:
        found = open_captioned(name, data_root(data, name), language=tag, split=split, captions=captions)
        wording = Wording(prompt=prompt, beams=beams)
        metrics, reasons = evaluate_captioning(
            encoder, found, wording=wording, world=world, limit=limit, progress=True
        )
        missing.update(reasons)
        return metrics

    runs = Runs(
        model=model,
        head="G",
        task="captioning",
        preprocess="retrieval",
        datasets=names(dataset, "--dataset"),
        languages=names(language, "--language"),
        out=out,
        again=again,
        limit=limit,
        batch=batch,
    )
    show(run_all(runs, measure), compare=compare)
    for name, reason in missing.items():
        typer.echo(f"{name}: {reason}", err=True)
