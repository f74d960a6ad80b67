"""`polylens info`: what a model is."""

from typing import Annotated

import typer

from ..clip.load import load

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="mini, a folder, a hub id, or open_clip:MODEL/PRETRAINED.")],
    head: Annotated[str, typer.Option(help="C, or G where the checkpoint has it.")] = "C",
) -> None:
    """Show what a model is: dimension, longest text, fingerprint.

    Two models whose fingerprints differ do not share a vector space.

    polylens info mini

    polylens info OpenGVLab/InternVL-14B-224px --head G
    """
    encoder = load(model, head=head)
    typer.echo(f"name              {encoder.name}")
    typer.echo(f"dimension         {encoder.dim}")
    typer.echo(f"longest text      {encoder.max_text_tokens} tokens")
    typer.echo(f"scale of cosines  {encoder.logit_scale:.4g}")
    typer.echo(f"fingerprint       {encoder.fingerprint}")
