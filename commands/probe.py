"""`polylens probe`: linear probes on a frozen backbone."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..backbone.probe.comparisons import Comparison, compare_few_shot, compare_knn, fit_logistic
from ..backbone.probe.config import ProbeConfig
from ..backbone.probe.evaluate import evaluate as evaluate_set
from ..backbone.probe.evaluate import evaluate_published, write_reports
from ..backbone.probe.frozen import freeze
from ..backbone.probe.layouts import LAYOUTS
from ..backbone.probe.probe import Probe
from ..backbone.probe.published import adopt_head, load_head, read_classes, save_head
from ..backbone.probe.report import table_of
from ..backbone.probe.run import prepare, stored_features, train_probe
from ..clip.load import MINI
from .probe_opening import open_probe, path_of

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True)

Data = Annotated[
    Path, typer.Argument(help="Folder of class folders; or of train/ and val/ with class folders or tars.")
]
Config = Annotated[str, typer.Option(help="A published row by name, or a TOML file; see docs/probe.md.")]
Model = Annotated[
    str | None, typer.Option(help="mini, a folder, a .pth file or a hub id, instead of the configuration's.")
]
HeadKind = Annotated[str | None, typer.Option(help="cls_patch_concat, attention_pooling or clip_projector.")]
Layers = Annotated[
    str | None, typer.Option(help="Layers to try, such as -1,-4: numbers passed, or from the end.")
]
ImageSize = Annotated[int | None, typer.Option(help="Pixels per side; positions are resized.")]
Stored = Annotated[
    Path | None, typer.Option("--features", help="Folder that keeps computed features for later runs.")
]


@app.callback()
def probe() -> None:
    """Train and use linear probes on a frozen backbone."""


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Argument(help="Folder for the probe, its report, log and checkpoints.")],
    config: Config = "folder",
    model: Model = None,
    recipe: Annotated[
        str | None, typer.Option(help="cheap: features once; exact: new views every epoch.")
    ] = None,
    head: HeadKind = None,
    layers: Layers = None,
    learning_rates: Annotated[
        str | None, typer.Option(help="Rates to try, such as 0.03,0.1,0.3; per 512 images.")
    ] = None,
    passes: Annotated[
        int | None, typer.Option(help="cheap: augmented views of each image; 0 for one plain view.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How often every image is seen.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a step.")] = None,
    image_size: ImageSize = None,
    classes: Annotated[
        int | None, typer.Option(help="How many classes the data must have; 0: any number.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and views.")] = None,
    features: Stored = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in OUT.")
    ] = False,
) -> None:
    """Train a linear classifier on the features of a frozen backbone.

    Without --config, features are computed once and ten small heads are
    trained on them: two layers, five learning rates. The best on the
    validation images is kept in OUT/probe.safetensors. Without val/, a fifth
    of the images is kept for validation. A killed run goes on with --resume
    and ends at the same weights. On several GPUs, start it with torchrun.

    polylens probe train photos/ runs/photos

    polylens probe train imagenet/ runs/in1k --config internvit-6b-224px

    polylens probe train photos/ runs/photos --resume
    """
    settings, name = settings_of(
        config,
        model,
        recipe=recipe,
        head=head,
        layers=numbers(layers, int),
        learning_rates=numbers(learning_rates, float),
        passes=passes,
        epochs=epochs,
        batch_size=batch_size,
        image_size=image_size,
        classes=classes,
        seed=seed,
    )
    file = train_probe(settings, data, out, resume=resume, features=features, known_as=name)
    if file.exists():  # written by the leading process
        report = json.loads((out / "validation" / "report.json").read_text("utf-8"))
        typer.echo("\n".join(table_of({"validation": report["metrics"]})))
        typer.echo(f"probe: {file}")


@app.command()
def features(
    data: Data,
    folder: Annotated[Path, typer.Argument(help="Folder that keeps the features.")],
    config: Config = "folder",
    model: Model = None,
    head: HeadKind = None,
    layers: Layers = None,
    passes: Annotated[int | None, typer.Option(help="Augmented views of each image; 0: one plain.")] = None,
    image_size: ImageSize = None,
) -> None:
    """Compute the features of all images once, for later runs with --features.

    A killed computation goes on where it was: call it again.

    polylens probe features photos/ features/ --passes 10
    """
    chosen = {"head": head, "layers": numbers(layers, int), "passes": passes, "image_size": image_size}
    settings, _ = settings_of(config, model, recipe="cheap", **chosen)
    train_set, held = stored_features(prepare(settings, data, folder), folder)
    typer.echo(f"training    {len(train_set):,} images, {train_set.passes} passes: {train_set.folder}")
    typer.echo(f"validation  {len(held):,} images: {held.folder}")


@app.command()
def predict(
    file: Annotated[Path, typer.Argument(help="A trained probe, probe.safetensors.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    model: Model = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to tell of each image.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Tell the class of images.

    polylens probe predict runs/photos/probe.safetensors cat.jpg dog.jpg --top 3
    """
    for image, ranking in zip(images, open_probe(file, model).predict(images), strict=True):
        if as_json:
            typer.echo(json.dumps({"image": str(image), "classes": dict(ranking[:top])}))
        else:
            told = "   ".join(f"{name} {share:.3f}" for name, share in ranking[:top])
            typer.echo(f"{image}\t{told}")


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="A trained probe, probe.safetensors.")],
    data: Annotated[Path, typer.Argument(help="The evaluation set, or the folder of all published ones.")],
    layout: Annotated[
        str, typer.Option(help=f"{', '.join(LAYOUTS)}; or published, for all of those in DATA.")
    ] = "folder",
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for figures, table per class and pictures.")
    ] = None,
) -> None:
    """Measure a probe: top-1, top-5, calibration.

    imagenet-a and -r are answered among their own 200 classes; imagenet-real
    wants real.json beside the validation folder.

    polylens probe evaluate runs/photos/probe.safetensors more-photos/ --out report/

    polylens probe evaluate runs/in1k/probe.safetensors imagenet/ --layout published
    """
    classifier = open_probe(file, model)
    if layout == "published":
        meters = evaluate_published(classifier, data)
    else:
        meters = {layout: evaluate_set(classifier, data, layout)}
    if out is not None:
        write_reports(meters, out, classifier.probe.about.model)
    typer.echo("\n".join(table_of({name: meter.summary() for name, meter in meters.items()})))


@app.command()
def knn(
    data: Data,
    k: Annotated[str, typer.Option("-k", help="Numbers of neighbours to try, such as 10,20.")] = "10,20",
    model: Model = None,
    layers: Layers = None,
    image_size: ImageSize = None,
    features: Stored = None,
) -> None:
    """Classify by the nearest training images, without training.

    polylens probe knn photos/ -k 5,10,20
    """
    comparison = compared(data, model, layers, image_size, features)
    show(compare_knn(comparison, numbers(k, int) or ()))


@app.command()
def logistic(
    data: Data,
    out: Annotated[Path, typer.Argument(help="Folder for the probe and its report.")],
    model: Model = None,
    layers: Layers = None,
    image_size: ImageSize = None,
    features: Stored = None,
) -> None:
    """Fit logistic regressions by L-BFGS and keep the best as a probe.

    polylens probe logistic photos/ runs/logistic --layers=-1,-2
    """
    comparison = compared(data, model, layers, image_size, features)
    show(fit_logistic(comparison, out, model or "mini"))
    typer.echo(f"probe: {out / 'probe.safetensors'}")


@app.command()
def fewshot(
    data: Data,
    shots: Annotated[str, typer.Option(help="Images of each class, such as 1,2,4,8.")] = "1,2,4,8",
    trials: Annotated[int, typer.Option(min=1, help="Draws of these images.")] = 5,
    model: Model = None,
    layers: Layers = None,
    image_size: ImageSize = None,
    features: Stored = None,
) -> None:
    """Fit logistic regressions on a few images of each class.

    polylens probe fewshot photos/ --shots 1,5,10 --trials 10
    """
    comparison = compared(data, model, layers, image_size, features)
    show(compare_few_shot(comparison, numbers(shots, int) or (), trials))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A probe (.safetensors) or a published head (.pth).")],
    target: Annotated[Path, typer.Argument(help="The file to write, of the other kind.")],
    model: Model = None,
    class_names: Annotated[
        Path | None, typer.Option("--classes", help="For a .pth: its class names, one a line.")
    ] = None,
    head: HeadKind = None,
    image_size: ImageSize = None,
) -> None:
    """Turn a probe into a published head checkpoint, or back.

    polylens probe convert runs/in1k/probe.safetensors head.pth

    polylens probe convert head.pth in1k.safetensors --model OWNER/NAME --classes wnids.txt
    """
    if source.suffix == ".safetensors":
        save_head(Probe.load(source).head, target)
    elif model is None or class_names is None:
        raise typer.BadParameter("a published head needs --model and --classes")
    else:
        kind = head or load_head(source).kind
        frozen = freeze(path_of(model), kind, (-1,), image_size=image_size or 0)
        own = load_head(source, kind=kind, num_heads=frozen.vit.config.num_attention_heads)
        adopt_head(own, frozen, read_classes(class_names), model).save(target)
    typer.echo(f"written: {target}")


def settings_of(config: str, model: str | None, **overrides: Any) -> tuple[ProbeConfig, str]:
    """The settings, and the name by which the model is to be remembered."""
    found = ProbeConfig.from_toml(config, model=model, **overrides)
    if found.model != "mini":
        return found, found.model
    return ProbeConfig.from_toml(config, **{**overrides, "model": str(MINI)}), "mini"


def compared(
    data: Path, model: str | None, layers: str | None, image_size: int | None, features: Path | None
) -> Comparison:
    """The stored features of one plain view, on which probes without a recipe are fitted."""
    chosen = {"layers": numbers(layers, int), "image_size": image_size, "passes": 0}
    settings, _ = settings_of("folder", model, **chosen)
    return Comparison.of(settings, data, features)


def numbers(text: str | None, kind: type[int] | type[float]) -> tuple[Any, ...] | None:
    """The numbers of a list such as "-1,-4"; None for None."""
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of numbers such as 1,2") from error


def show(rows: list[str]) -> None:
    """The lines of a result."""
    typer.echo("\n".join(rows))
