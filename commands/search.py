"""`polylens search`: one question to a running server."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..service.client import TARGET, connect
from ..service.encoding import object_from_json
from ..service.records import IdQuery, SearchResult

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="What to look for, in any language.")] = None,
    image: Annotated[Path | None, typer.Option(help="Look for what is like this picture.")] = None,
    id: Annotated[str | None, typer.Option(help="Look for what is like this stored point.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many hits at most.")] = 10,
    collection: Annotated[
        str, typer.Option(help="Where to look; may be left out if there is only one.")
    ] = "",
    filter: Annotated[
        str, typer.Option(help="""A condition on the metadata, as JSON: {"year": {"$gte": 2020}}""")
    ] = "",
    weight: Annotated[
        float, typer.Option(help="How much TEXT counts beside --image or --id; below zero leads away.")
    ] = 1.0,
    rerank: Annotated[
        int, typer.Option(help="Compare the pictures of so many hits with TEXT; needs InternVL-G.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    server: Annotated[str, typer.Option(help="Where the server answers.", envvar="POLYLENS_SERVER")] = TARGET,
) -> None:
    """Search a collection of a running server.

    polylens search "a red apple" -k 5

    polylens search "kikombe cha chai" --collection photos --filter '{"year": 2024}'

    polylens search --image cat.jpg --json

    polylens search "at night" --image harbour.jpg --weight 0.7

    polylens search "two cats, one of them asleep" --rerank 100
    """
    like = [one for one in (image, id and IdQuery(id)) if one is not None]
    parts = [*([(text, weight)] if text is not None else []), *((one, 1.0) for one in like)]
    if not parts or len(like) > 1:
        raise typer.BadParameter("give TEXT, or one of --image and --id, or TEXT with one of them")
    condition = object_from_json(filter)
    common: dict[str, Any] = {"k": k, "collection": collection, "filter": condition, "rerank": rerank}
    with connect(server) as client:
        if len(parts) == 1:
            result = client.search(text, image=image, id=id, **common)
        else:
            result = client.search(mixture=parts, **common)
    if result.truncated:
        typer.echo("The text is longer than the model reads; only its beginning was searched for.", err=True)
    if as_json:
        typer.echo(json.dumps(asdict(result), ensure_ascii=False, indent=1))
    else:
        Console().print(table(result))


def table(result: SearchResult) -> Table:
    """The hits, one in each row."""
    shown = Table(title=f"{result.collection}, {result.timings.total_ms:.0f} ms", title_justify="left")
    matched = ["match"] if result.looked_at else []
    for heading in (*matched, "score", "id", "metadata"):
        numbers = heading in ("match", "score")
        shown.add_column(heading, justify="right" if numbers else "left", overflow="fold")
    for hit in result:
        match = ["" if hit.match is None else f"{hit.match:.3f}"] if matched else []
        shown.add_row(*match, f"{hit.score:.3f}", Text(hit.id), Text(in_words(hit.metadata)))
    return shown


def in_words(metadata: Mapping[str, Any]) -> str:
    """The metadata on one line, texts without quotes."""
    return ", ".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in metadata.items()
    )
