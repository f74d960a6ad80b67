"""`polylens embed`: any number of pictures and texts to shards of vectors, or a few to one file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..backbone.pixels import DRAFT
from ..backbone.world import World, local_device
from ..clip.embedding.errors import Incomplete
from ..clip.embedding.on_ray import Resources, run_on_ray
from ..clip.embedding.plan import Plan, mine
from ..clip.embedding.plot import draw_summary
from ..clip.embedding.run import plan_of, run_job
from ..clip.embedding.settings import Settings
from ..clip.embedding.sources.kinds import kind_of
from ..clip.embedding.split import place
from ..clip.embedding.verify import verify as verify_output
from ..clip.encoder import Encoder
from ..clip.load import load
from .embed_few import embed_few
from .embed_progress import Bar

__all__ = ["app"]

app = typer.Typer(add_completion=False)
DEFAULT = Settings()


@app.command()
def embed(
    paths: Annotated[
        list[str], typer.Argument(metavar="[SOURCE]... OUT", help="What to embed, and where vectors go.")
    ],
    take: Annotated[
        str, typer.Option(help="images, texts or both; auto takes what the source is made of.")
    ] = "auto",
    model: Annotated[
        str, typer.Option(help="mini, a folder, a hub id or open_clip:...", envvar="POLYLENS_MODEL")
    ] = "mini",
    head: Annotated[str, typer.Option(help="C, or G where the checkpoint has it.")] = "C",
    preprocess: Annotated[str, typer.Option(help="service, retrieval or classification.")] = "service",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="The model's precision: auto, float32, bfloat16 or float16.")
    ] = "auto",
    store: Annotated[str, typer.Option(help="The vectors' precision: float16 or float32.")] = DEFAULT.dtype,
    parquet: Annotated[bool, typer.Option("--parquet", help="Vectors in the metadata as well.")] = False,
    captions: Annotated[
        bool, typer.Option("--captions", help="A sentence about each picture, with --head G.")
    ] = False,
    kind: Annotated[
        str, typer.Option(help="folder, tars, parquet, jsonl, datasets, lines; auto goes by the name.")
    ] = "auto",
    image_column: Annotated[str, typer.Option(help="The column of a table with paths or bytes.")] = "",
    caption_column: Annotated[str, typer.Option(help="The column of a table with texts.")] = "",
    unit_size: Annotated[
        int, typer.Option(help="Samples in a shard; a tar is one shard.")
    ] = DEFAULT.unit_size,
    batch_size: Annotated[int, typer.Option(help="Samples in a forward pass.")] = DEFAULT.batch_size,
    workers: Annotated[
        int | None, typer.Option(help="Processes that decode pictures; 0 decodes in threads.")
    ] = None,
    fast_jpeg: Annotated[
        bool,
        typer.Option("--fast-jpeg", help="Decode JPEGs no larger than needed: other pixels, other vectors."),
    ] = False,
    engine: Annotated[str, typer.Option(help="local, or ray: the cluster that RAY_ADDRESS names.")] = "local",
    actors: Annotated[int, typer.Option(help="With ray: actors at most; 0 for all that have room.")] = 0,
    actor_cpus: Annotated[float, typer.Option(help="With ray: CPUs of an actor.")] = 1,
    actor_gpus: Annotated[float, typer.Option(help="With ray: GPUs of an actor.")] = 0,
    rank: Annotated[
        int | None, typer.Option(help="Which of --world processes this is; else torchrun or Slurm say so.")
    ] = None,
    world: Annotated[int | None, typer.Option(help="How many processes share the job.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only check OUT against its source, record and checksums.")
    ] = False,
    image: Annotated[
        list[Path] | None, typer.Option("--image", "-i", help="For an .npz: a picture or a folder.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option("--text", "-t", help="For an .npz: a text.")] = None,
    lines: Annotated[Path | None, typer.Option(help="For an .npz: a file with a text on each line.")] = None,
    server: Annotated[
        str | None,
        typer.Option(help="For an .npz: the running server that embeds.", envvar="POLYLENS_SERVER"),
    ] = None,
) -> None:
    """Turn texts or pictures into vectors.

    SOURCE is a folder of pictures with captions beside them, webdataset
    tars, parquet or JSONL tables, a folder of Hugging Face datasets, or a
    text file: paths or URLs, with globs and braces. OUT gets img_emb/,
    text_emb/, metadata/, rejects/, stats/ and manifest.json. A job that was
    killed goes on where it was when it is started again in the same way.

    A few texts or pictures go into one file, if OUT ends with .npz: its
    arrays are `ids` (the texts, or the paths of the pictures) and `vectors`
    (float32, rows of length 1).

    polylens embed ~/Pictures vectors --take both

    polylens embed 's3://bucket/{00000..00999}.tar' vectors --model OpenGVLab/InternVL-14B-224px

    polylens embed vectors --verify

    polylens embed /shared/tars /shared/vectors --engine ray --actor-gpus 1 --actor-cpus 8 --workers 7

    polylens embed pictures.npz --image ~/Pictures

    polylens embed texts.npz --text "a red apple" --text 两只猫
    """
    *sources, last = paths
    out = Path(last)
    if verify:
        typer.echo(_check(out))
        return
    preprocess += DRAFT if fast_jpeg else ""
    choice = {"name": model, "head": head, "device": device, "dtype": dtype, "preprocess": preprocess}
    if out.suffix == ".npz":
        pictures = [*map(Path, sources), *(image or [])]
        texts = [*(text or []), *(lines.read_text("utf-8").splitlines() if lines else [])]
        if bool(texts) == bool(pictures):
            raise typer.BadParameter("give texts or pictures")
        count, dim = embed_few(pictures, texts, out, server=server, model=choice)
        typer.echo(f"{count} vectors of {dim} numbers in {out}")
        return
    if not sources or image or text or lines:
        raise typer.BadParameter("give SOURCE and OUT, or an OUT that ends with .npz")
    here = place(rank, world)
    if device == "auto" and here.size > 1:
        choice["device"] = str(local_device(here))
    kind = kind_of(sources) if kind == "auto" else kind
    if take == "auto":
        take = "texts" if kind == "lines" else "images"
    settings = Settings(
        take=take,
        unit_size=unit_size,
        batch_size=batch_size,
        dtype=store,
        vectors_in_parquet=parquet,
        captions=captions,
        image_column=image_column,
        caption_column=caption_column,
    )
    if engine == "ray":
        resources = Resources(actor_cpus, actor_gpus, actors, workers or 0)
        typer.echo(_job_on_ray(choice, sources, out, settings, kind, resources))
    elif engine == "local":
        typer.echo(_job(load(**choice), sources, out, settings, kind, workers, here))
    else:
        raise typer.BadParameter(f"engine is {engine!r}, expected local or ray")


def _job(
    encoder: Encoder,
    sources: list[str],
    out: Path,
    settings: Settings,
    kind: str,
    workers: int | None,
    here: World,
) -> str:
    """What is done now, in a sentence."""
    plan = plan_of(encoder, sources, out, settings, kind)
    workers = encoder.workers if workers is None else workers
    share = len(mine(range(len(plan)), here.rank, here.size)[0])
    with Bar(plan.samples if here.size == 1 else None, share) as bar:
        manifest = run_job(plan, encoder, workers=workers, world=here, report=bar)
    if manifest is None:
        return f"other processes are still at work on {out}"
    return _done(plan, manifest)


def _job_on_ray(
    choice: dict[str, str],
    sources: list[str],
    out: Path,
    settings: Settings,
    kind: str,
    resources: Resources,
) -> str:
    """What was done, in a sentence."""
    plan = plan_of(load(**choice), sources, out, settings, kind)
    with Bar(plan.samples, len(plan)) as bar:
        manifest = run_on_ray(plan, choice, resources, bar)
    return _done(plan, manifest)


def _done(plan: Plan, manifest: dict[str, Any]) -> str:
    out = plan.out
    draw_summary(plan)
    refused = f", {manifest['rejected']} refused (see {out}/rejects)" if manifest["rejected"] else ""
    return f"{manifest['rows']} rows of {manifest['dim']} numbers in {out}{refused}"


def _check(out: Path) -> str:
    """What a check of an output saw, in a sentence; `Incomplete` with what is wrong."""
    with Bar(None, 1) as bar:
        found = verify_output(out, report=bar)
    for problem in found.problems:
        typer.echo(problem, err=True)
    if found.problems:
        raise Incomplete(f"{out}: {len(found.problems)} things are wrong")
    return f"{found.units} units are whole: {found.rows} rows, {found.rejected} refused"
