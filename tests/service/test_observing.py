"""What operators see: figures, traces and logs that are right, and that hold nothing of anyone's content."""

import asyncio
import json
import logging
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from polylens.service import server as server_module
from polylens.service.errors import RemoteError
from polylens.service.logs import JsonLines
from polylens.service.metrics import Metrics
from polylens.service.observing import Observer
from polylens.service.tracing import Traces

SECRET = "the birthday of my grandmother"


def figures(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.text().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_figures_follow_the_calls(serve: Any, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    async with serve(tmp_path) as service:
        client, metrics = service.client, service.engine.metrics
        await client.create_collection("c")
        await client.upsert(["a"], collection="c", images=[picture()])
        await client.search("one")
        await client.search("one")
        with pytest.raises(RemoteError):
            await client.search("one", collection="none")
        async with asyncio.timeout(10):  # a call is counted when it is over, after its answer was sent
            while 'code="NOT_FOUND"' not in metrics.text().decode():
                await asyncio.sleep(0.01)
        got = figures(metrics)
    assert got['polylens_requests_total{code="OK",method="Search"}'] == 2
    assert got['polylens_requests_total{code="NOT_FOUND",method="Search"}'] == 1
    assert got['polylens_request_seconds_count{method="Search"}'] == 3
    assert got['polylens_collection_points{collection="c"}'] == 1
    assert got["polylens_text_cache_hits_total"] == 1 and got["polylens_text_cache_entries"] == 1
    assert got['polylens_batch_size_count{input="image"}'] >= 2  # a canary and a picture
    assert got['polylens_stage_seconds_count{input="text",stage="queue"}'] == 1
    assert got['polylens_stage_seconds_count{input="points",stage="store"}'] == 4
    assert got['polylens_queue_length{input="text",level="bulk"}'] == 0
    assert got['polylens_admission_inside{room="calls"}'] == 0
    assert got['polylens_admission_limit{room="SearchService"}'] == 256
    assert got["polylens_ready"] == 1
    assert got["polylens_decoder_restarts_total"] == 0
    assert SECRET not in metrics.text().decode()


async def test_the_lag_of_the_event_loop_is_seen() -> None:
    metrics = Metrics()
    task = asyncio.create_task(metrics.watch_lag())
    await asyncio.sleep(0.12)
    assert figures(metrics)['polylens_event_loop_lag_seconds_bucket{le="0.25"}'] >= 1
    time.sleep(0.6)  # the fault: work on the loop itself
    await asyncio.sleep(0.01)
    got = figures(metrics)
    assert got["polylens_tasks"] == len(asyncio.all_tasks()) >= 2  # this test and the one who looks
    name = "polylens_event_loop_lag_seconds"
    assert got[f"{name}_count"] - got[f'{name}_bucket{{le="0.25"}}'] == 1
    task.cancel()


async def test_prometheus_reads_them_over_http(serve: Any, tmp_path: Path) -> None:
    async with serve(tmp_path, http_port=0) as service:
        text = await asyncio.to_thread(_get, f"http://{service.server.web.address}/metrics")
    assert "# TYPE polylens_request_seconds histogram" in text
    families = re.findall(r"^# TYPE (polylens_\w+) (\w+)$", text, re.MULTILINE)
    assert all(name.endswith("_total") for name, kind in families if kind == "counter")
    assert len(families) > 15


def _get(url: str) -> str:
    with urllib.request.urlopen(url) as reply:
        return str(reply.read().decode())


def test_a_trace_says_what_became_of_a_call_under_the_callers_own() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observer = Observer(Metrics(), Traces(provider))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with observer.call("Search", {"traceparent": parent, "authorization": SECRET}) as call:
        call.milliseconds = {"queue": 3.0}
    with pytest.raises(ValueError), observer.call("Search", {}) as call:
        call.code = "INTERNAL"
        raise ValueError(SECRET)
    good, bad = exporter.get_finished_spans()
    assert good.name == "Search" and good.attributes["polylens.queue_ms"] == 3.0
    assert f"{good.context.trace_id:032x}" == parent.split("-")[1]
    assert (good.status.status_code.name, bad.status.status_code.name) == ("UNSET", "ERROR")
    assert SECRET not in good.to_json() + bad.to_json()


async def test_a_server_with_traces_makes_one_for_each_call(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(server_module, "Traces", lambda: Traces(provider))
    async with serve(tmp_path, traces=True) as service:
        await service.client.info()
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.attributes["rpc.grpc.status"]) == ("GetInfo", "OK")


def logged(record: logging.LogRecord) -> dict[str, Any]:
    return dict(json.loads(JsonLines().format(record)))


async def test_logs_are_objects_without_content(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(tmp_path, log_calls=True) as service:
        await service.client.create_collection("c")
        await service.client.search(SECRET)
        with pytest.raises(RemoteError):
            await service.client.search("poison")
    lines = [logged(record) for record in caplog.records if hasattr(record, "told")]
    assert [(one["method"], one["code"], one["holder"]) for one in lines] == [
        ("CreateCollection", "OK", "anyone"),
        ("Search", "OK", "anyone"),
        ("Search", "INTERNAL", "anyone"),
    ]
    assert all(one["ms"] >= 0 and one["level"] == "info" for one in lines)
    (fault,) = [logged(record) for record in caplog.records if record.exc_info]
    assert fault["error"] == "RuntimeError" and any("embed_ids" in frame for frame in fault["trace"])
    everything = json.dumps([logged(record) for record in caplog.records])
    assert SECRET not in everything and "/secret/path" not in everything
    assert "/secret/path" in "\n".join(map(logging.Formatter().format, caplog.records))  # the control


async def test_callers_may_name_their_request(serve: Any, tmp_path: Path) -> None:
    seen = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(logged(record).get("request_id"))

    observer = Observer(Metrics(), lines=True)
    logger = logging.getLogger("polylens.service.observing")
    handler, level = Handler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        for given in ("abc-1", "with\nnewline", ""):
            with observer.call("Search", {"x-request-id": given}):
                pass
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert seen[0] == "abc-1" and all(re.fullmatch("[0-9a-f]{16}", one) for one in seen[1:])
