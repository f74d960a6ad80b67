"""`polylens token`: a token for callers of a server, and the line by which the server knows it."""

from typing import Annotated

import typer

from ..service.tokens import new_token

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="Whose token it is; appears in the log.")],
    scope: Annotated[str, typer.Option(help="read, write or admin; each contains those before.")] = "read",
) -> None:
    """Make a token for callers of a server.

    The line on stdout goes into the file of `polylens serve --tokens`; it is a
    hash. The token itself is shown once, on stderr, and kept nowhere.

    polylens token web-shop >> tokens

    polylens token nightly-import --scope write >> tokens
    """
    secret, line = new_token(name, scope)
    typer.echo(line)
    typer.echo(f"the token of {name}: {secret}", err=True)
