"""`polylens serve`: a model and its collections over gRPC."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from ..service.engine import Engine
from ..service.run import run
from ..service.server import Server
from ..service.settings import Settings

__all__ = ["app"]

app = typer.Typer(add_completion=False)
DEFAULT = Settings()


@app.command()
def serve(
    model: Annotated[
        str, typer.Option(help="mini, a folder, a hub id or open_clip:...", envvar="POLYLENS_MODEL")
    ] = DEFAULT.model,
    head: Annotated[
        str, typer.Option(help="C, or G where the checkpoint has it.", envvar="POLYLENS_HEAD")
    ] = DEFAULT.head,
    data: Annotated[
        Path, typer.Option(help="Folder of the collections; made if absent.", envvar="POLYLENS_DATA")
    ] = DEFAULT.data,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others need --insecure.", envvar="POLYLENS_HOST")
    ] = DEFAULT.host,
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 is any free one.", envvar="POLYLENS_PORT")
    ] = DEFAULT.port,
    http_port: Annotated[
        int | None,
        typer.Option(help="Port for HTTP and the page; 0 is any free one.", envvar="POLYLENS_HTTP_PORT"),
    ] = DEFAULT.http_port,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder whose pictures the page may show.", envvar="POLYLENS_PICTURES"),
    ] = DEFAULT.pictures,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Let other machines in, unencrypted and unchecked.",
            envvar="POLYLENS_INSECURE",
        ),
    ] = DEFAULT.insecure,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1, ...", envvar="POLYLENS_DEVICE")
    ] = DEFAULT.device,
    dtype: Annotated[
        str, typer.Option(help="auto, float32, bfloat16 or float16.", envvar="POLYLENS_DTYPE")
    ] = DEFAULT.dtype,
    max_batch: Annotated[
        int, typer.Option(help="Texts or images in one forward pass.", envvar="POLYLENS_MAX_BATCH")
    ] = DEFAULT.max_batch,
    max_wait_ms: Annotated[
        float, typer.Option(help="How long a request waits for company.", envvar="POLYLENS_MAX_WAIT_MS")
    ] = DEFAULT.max_wait_ms,
    max_queue: Annotated[
        int, typer.Option(help="Texts or images inside; more are refused.", envvar="POLYLENS_MAX_QUEUE")
    ] = DEFAULT.max_queue,
    workers: Annotated[
        int, typer.Option(help="Threads that decode, and that search.", envvar="POLYLENS_WORKERS")
    ] = DEFAULT.workers,
    drain_seconds: Annotated[
        float,
        typer.Option(
            help="At SIGTERM, time for balancers to look elsewhere.", envvar="POLYLENS_DRAIN_SECONDS"
        ),
    ] = DEFAULT.drain_seconds,
    grace_seconds: Annotated[
        float,
        typer.Option(help="Then, time for calls to finish.", envvar="POLYLENS_GRACE_SECONDS"),
    ] = DEFAULT.grace_seconds,
) -> None:
    """Serve a model and its collections over gRPC.

    Answers until Ctrl-C or SIGTERM, then finishes what is under way. What was
    acknowledged is on disk and survives however the server ends. Health checks
    and reflection are standard gRPC.

    polylens serve

    polylens serve --model OpenGVLab/InternVL-14B-224px --data /srv/polylens --device cuda

    polylens serve --http-port 8080 --pictures ~/Pictures

    polylens serve --host 0.0.0.0 --insecure
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings(
        model=model,
        head=head,
        data=data,
        host=host,
        port=port,
        http_port=http_port,
        pictures=pictures,
        insecure=insecure,
        device=device,
        dtype=dtype,
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_queue=max_queue,
        workers=workers,
        drain_seconds=drain_seconds,
        grace_seconds=grace_seconds,
    )
    run(settings, announce)


def announce(server: Server, engine: Engine) -> None:
    """Says on stdout where the server answers, for people and for scripts that wait for it."""
    page = f"page on {server.web.url}, " if server.web else ""
    typer.echo(
        f"serving {engine.encoder.name} on {server.address}, {page}collections in {engine.settings.data}"
    )
