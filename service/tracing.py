"""Traces of calls by OpenTelemetry; its own variables (OTEL_EXPORTER_OTLP_ENDPOINT) say where they go."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..errors import require
from .observing import Call

CALLERS_FAULTS = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "CANCELLED"}


class Traces:
    """One span for each call, under the caller's own if it sends a `traceparent`."""

    def __init__(self, provider: Any = None) -> None:
        self._trace = require("opentelemetry.trace", "otel")
        self._context = require("opentelemetry.trace.propagation.tracecontext", "otel")
        self._provider = provider or _exporting()
        self._tracer = self._provider.get_tracer("polylens")

    @contextmanager
    def span(self, method: str, headers: Mapping[str, str], call: Call) -> Iterator[None]:
        """A span that says at its end what became of the call, and how long each stage took."""
        parent = self._context.TraceContextTextMapPropagator().extract(headers)
        kind = self._trace.SpanKind.SERVER
        with self._tracer.start_as_current_span(
            method, context=parent, kind=kind, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            finally:
                span.set_attribute("rpc.grpc.status", call.code)
                for stage, milliseconds in call.milliseconds.items():
                    span.set_attribute(f"polylens.{stage}_ms", milliseconds)
                if call.code != "OK" and call.code not in CALLERS_FAULTS:
                    span.set_status(self._trace.StatusCode.ERROR)

    def close(self) -> None:
        """Sends what has not been sent yet."""
        self._provider.shutdown()


def _exporting() -> Any:
    sdk = require("opentelemetry.sdk.trace", "otel")
    resources = require("opentelemetry.sdk.resources", "otel")
    batches = require("opentelemetry.sdk.trace.export", "otel")
    exporter = require("opentelemetry.exporter.otlp.proto.grpc.trace_exporter", "otel")
    named = resources.Resource.create({"service.name": "polylens"})  # OTEL_SERVICE_NAME comes before
    provider = sdk.TracerProvider(resource=named)
    provider.add_span_processor(batches.BatchSpanProcessor(exporter.OTLPSpanExporter()))
    return provider
