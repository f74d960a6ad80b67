"""`polylens serve`: a model and its collections over gRPC and HTTP."""

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
import yaml

from ..errors import InvalidInput
from ..service.capabilities import Capabilities
from ..service.engine import Engine
from ..service.logs import begin
from ..service.records import Encoder
from ..service.run import check, plain, run
from ..service.server import Server
from ..service.settings import Settings
from .probe_opening import open_probes

__all__ = ["app"]

app = typer.Typer(add_completion=False)
# Each field of the settings is a flag, a variable POLYLENS_<FIELD>, and a name in the file of --config.
HELP = {
    "model": "mini, a folder, a hub id or open_clip:...",
    "head": "C, or G where the checkpoint has it.",
    "segment": "A segmentation config, and with it --segment-checkpoint; see docs/segmentation.md.",
    "segment_checkpoint": "What its training left.",
    "data": "Folder of the collections, made if absent, or milvus://host:port/name.",
    "host": "Address to listen on; others than loopback need TLS and tokens, or --insecure.",
    "port": "Port to listen on; 0 is any free one.",
    "http_port": "Port for HTTP and the page; 0 is any free one.",
    "pictures": "Folder whose pictures the page may show.",
    "probe": "A trained probe, NAME=FILE or FILE; several times. See docs/probe.md.",
    "snapshots": "Folder into which snapshots of collections may be written.",
    "insecure": "Let other machines in, unencrypted and unchecked.",
    "tls_cert": "Certificate chain (PEM); read anew when it changes.",
    "tls_key": "Its key (PEM).",
    "tls_client_ca": "Callers must show a certificate that this authority (PEM) signed.",
    "tokens": "File of the hashes of tokens; see docs/service.md.",
    "log_format": "text or json.",
    "log_calls": "A line in the log for every call.",
    "traces": "Send OpenTelemetry traces; OTEL_EXPORTER_OTLP_ENDPOINT says where.",
    "engine": "local, or ray: forward passes on the cluster that RAY_ADDRESS names.",
    "replicas": "With ray: how many replicas of the model.",
    "replica_cpus": "With ray: CPUs of a replica.",
    "replica_gpus": "With ray: GPUs of a replica.",
    "device": "auto, cpu, cuda, cuda:1, ...; several with commas.",
    "dtype": "auto, float32, bfloat16 or float16.",
    "preprocess": "How pictures become pixels, as in polylens.load; that of the collections' vectors.",
    "quantize": "none, or int8: faster on a CPU, for vectors of its own kind.",
    "compile": "Compile the network at the start, which takes minutes and makes it faster.",
    "max_batch": "Texts or images in one forward pass.",
    "max_batch_tokens": "Tokens in one forward pass, padding included.",
    "max_batch_pixels": "Pixels in one forward pass.",
    "max_wait_ms": "How long a request waits for company.",
    "max_queue": "Texts or images inside; more are refused.",
    "max_delay_ms": "A request that would have to wait longer is refused, unless only a few are ahead.",
    "max_bytes": "Bytes of requests inside; more are refused.",
    "workers": "Threads that prepare images, and that search.",
    "decoders": "Processes that decode images; 0 decodes in the server itself.",
    "decoder_seconds": "Time to decode one image.",
    "decoder_mb": "Memory to decode one image, in MiB.",
    "cache_mb": "Memory for the vectors of repeated texts, in MiB; 0 for none.",
    "warm_up": "Run the largest batch before answering.",
    "drain_seconds": "At SIGTERM, time for balancers to look elsewhere.",
    "grace_seconds": "Then, time for calls to finish.",
}


def serve(**chosen: Any) -> None:
    """Serve a model and its collections over gRPC.

    Answers until Ctrl-C or SIGTERM, then finishes what is under way. What was
    acknowledged is on disk and survives however the server ends. Health checks
    and reflection are standard gRPC. Each flag is also a variable, such as
    POLYLENS_HTTP_PORT, and a name in a YAML file, such as http_port; a flag
    comes before a variable, and a variable before the file.

    polylens serve

    polylens serve --model OpenGVLab/InternVL-14B-224px --data /srv/polylens --device cuda

    polylens serve --data milvus://milvus.example.org:19530/photos

    polylens serve --http-port 8080 --pictures ~/Pictures

    polylens serve --http-port 8080 --segment tiny/upernet_full --segment-checkpoint runs/full/iter_400.pth

    polylens serve --probe animals=runs/animals/probe.safetensors

    polylens serve --engine ray --replicas 8 --replica-gpus 1

    polylens serve --config /etc/polylens.yaml --check

    polylens serve --host 0.0.0.0 --tls-cert server.pem --tls-key server.key --tokens tokens
    """
    checking = chosen.pop("check")
    chosen.pop("config")
    settings = Settings(**chosen)
    begin(settings.log_format)
    if not checking:
        run(settings, announce, able)
    elif not check(settings, told, able):
        raise typer.Exit(1)


def able(settings: Settings, encoders: Sequence[Encoder]) -> Capabilities:
    """What the encoders can do, and on their devices the probes and segmentation model of the settings."""
    devices = [device.strip() for device in settings.device.split(",")]
    probes = open_probes(settings.probe, devices, settings.dtype)
    found = replace(plain(settings, encoders), labellers=probes)
    if settings.segment is None:
        return found
    # Not at the top of the file: most servers do without mmsegmentation.
    module = importlib.import_module("..segmentation.segmenter", __package__)
    return replace(
        found,
        segmenters=[
            module.Segmenter.load(settings.segment, settings.segment_checkpoint, device=device)
            for device in devices
        ],
    )


def announce(server: Server, engine: Engine) -> None:
    """Says on stdout where the server answers, for people and for scripts that wait for it."""
    page = f"page on {server.web.url}, " if server.web else ""
    typer.echo(
        f"serving {engine.encoder.name} on {server.address}, {page}collections in {engine.settings.data}"
    )


def told(part: str, problem: str) -> None:
    """Says what a check found."""
    typer.echo(f"{part}: {problem or 'ok'}")


def from_file(context: typer.Context, file: Path | None) -> Path | None:
    """Takes the settings of a YAML file as those that hold where no flag and no variable says otherwise."""
    if file is None:
        return None
    try:
        found = yaml.safe_load(file.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict) or (unknown := sorted(map(str, found.keys() - HELP.keys()))):
        what = f"unknown: {', '.join(unknown)}" if isinstance(found, dict) else "no names and values"
        raise InvalidInput(f"{file}: {what}")
    context.default_map = {name: value for name, value in found.items() if value is not None}
    return file


def _option(field: Field[Any], kind: Any) -> inspect.Parameter:
    flag = f"--{field.name.replace('_', '-')}"
    names = [f"{flag}/--no-{flag[2:]}" if field.default is True else flag]
    option = typer.Option(*names, help=HELP[field.name], envvar=f"POLYLENS_{field.name.upper()}")
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return _parameter(field.name, Annotated[kind, option], default)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _signature() -> inspect.Signature:
    kinds = get_type_hints(Settings)
    config = typer.Option(
        callback=from_file, is_eager=True, envvar="POLYLENS_CONFIG", help="YAML file of settings."
    )
    checking = typer.Option("--check", help="Only say whether the server would start.")
    return inspect.Signature(
        [
            *(_option(field, kinds[field.name]) for field in fields(Settings)),
            _parameter("config", Annotated[Path | None, config], None),
            _parameter("check", Annotated[bool, checking], False),
        ]
    )


serve.__signature__ = _signature()  # type: ignore[attr-defined]  # typer reads it
serve.__annotations__ = {name: one.annotation for name, one in _signature().parameters.items()}
app.command()(serve)
