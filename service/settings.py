"""What can be set about a server, and what it accepts in one request."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server accepts in one request; more is refused. The figures bound what one request can cost."""

    max_message_bytes: int = 16 << 20
    max_image_bytes: int = 15 << 20  # leaves room for the rest of a message
    max_text_bytes: int = 32 << 10
    max_items: int = 256
    max_k: int = 1000
    max_id_bytes: int = 256
    max_metadata_bytes: int = 64 << 10
    max_sentences: int = 4096
    max_batch_hits: int = 10_000
    max_parts: int = 16
    max_pairs: int = 256


LEAST = {
    "max_batch": 1,
    "replicas": 1,
    "max_batch_tokens": 1,
    "max_batch_pixels": 1,
    "workers": 1,
    "decoders": 0,
    "decoder_mb": 64,
    "cache_mb": 0,
    "max_queue": Limits().max_items,
    "max_bytes": Limits().max_message_bytes,
}


NOT_NEGATIVE = (
    "replica_cpus",
    "replica_gpus",
    "max_wait_ms",
    "max_delay_ms",
    "decoder_seconds",
    "drain_seconds",
    "grace_seconds",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server runs; every field is a flag of `polylens serve` and a variable POLYLENS_<FIELD>."""

    model: str = "mini"
    head: str = "C"
    segment: str | None = None
    segment_checkpoint: Path | None = None
    data: str = "polylens-data"
    host: str = "127.0.0.1"
    port: int = 51000
    http_port: int | None = None
    pictures: Path | None = None
    snapshots: Path | None = None
    insecure: bool = False
    probe: list[str] = field(default_factory=list)
    log_format: str = "text"
    log_calls: bool = False
    traces: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens: Path | None = None
    engine: str = "local"
    replicas: int = 1
    replica_cpus: float = 1.0
    replica_gpus: float = 0.0
    device: str = "auto"
    dtype: str = "auto"
    preprocess: str = "service"
    quantize: str = "none"
    compile: bool = False
    max_batch: int = 32
    max_batch_tokens: int = 16384
    max_batch_pixels: int = 16 << 20
    max_wait_ms: float = 2.0
    max_queue: int = 1024
    max_delay_ms: float = 10_000.0
    max_bytes: int = 512 << 20
    workers: int = field(default_factory=lambda: min(8, os.cpu_count() or 1))
    decoders: int = field(default_factory=lambda: min(8, os.cpu_count() or 1))
    decoder_seconds: float = 10.0
    decoder_mb: int = 1024
    cache_mb: int = 32
    warm_up: bool = True
    drain_seconds: float = 2.0
    grace_seconds: float = 20.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InvalidInput(f"port is {self.port}, not from 0 (any free port) to 65535")
        if self.http_port is not None and not 0 <= self.http_port <= 65535:
            raise InvalidInput(f"http_port is {self.http_port}, not from 0 (any free port) to 65535")
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}, not at least {least}")
        if self.log_format not in ("text", "json"):
            raise InvalidInput(f"log_format is {self.log_format!r}, not 'text' or 'json'")
        if (self.segment is None) != (self.segment_checkpoint is None):
            raise InvalidInput("segment (a config) and segment_checkpoint are needed together")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidInput("tls_cert and tls_key are needed together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise InvalidInput("tls_client_ca needs tls_cert and tls_key")
        if self.engine not in ("local", "ray"):
            raise InvalidInput(f"engine is {self.engine!r}, not 'local' or 'ray'")
        if self.engine == "ray" and self.quantize != "none":
            raise InvalidInput(f"quantize is {self.quantize!r}, which goes with the engine 'local' only")
        for name in NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < float("inf"):
                raise InvalidInput(f"{name} is {getattr(self, name)}, not zero or more")
