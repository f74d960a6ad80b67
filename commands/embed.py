"""`polylens embed`: the vectors of texts or pictures, into a file of numpy."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..service.client import TARGET, connect
from ..service.pictures import find_pictures

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def embed(
    out: Annotated[Path, typer.Argument(help="The .npz file to write.")],
    image: Annotated[
        list[Path] | None, typer.Option("--image", "-i", help="A picture, or a folder of pictures.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option("--text", "-t", help="A text, in any language.")] = None,
    lines: Annotated[Path | None, typer.Option(help="A file with a text on each line.")] = None,
    server: Annotated[str, typer.Option(help="Where the server answers.", envvar="POLYLENS_SERVER")] = TARGET,
) -> None:
    """Turn texts or pictures into vectors.

    The file has two arrays: `ids` (the texts, or the paths of the pictures)
    and `vectors` (float32, rows of length 1).

    polylens embed pictures.npz --image ~/Pictures

    polylens embed texts.npz --text "a red apple" --text 两只猫
    """
    texts = [*(text or []), *(lines.read_text("utf-8").splitlines() if lines else [])]
    if bool(texts) == bool(image):
        raise typer.BadParameter("give texts or pictures")
    pictures = find_pictures(image) if image else {}
    with connect(server) as client:
        vectors_ND = client.embed_images(list(pictures.values())) if image else client.embed_texts(texts)
    ids = np.array(list(pictures) if image else texts)
    np.savez(out, ids=ids, vectors=vectors_ND)
    typer.echo(f"{len(ids)} vectors of {vectors_ND.shape[1]} numbers in {out}")
