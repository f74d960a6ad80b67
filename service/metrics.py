"""What an operator sees of a server, in the form that Prometheus reads. Names end in their unit."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .records import Done

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LAG_EVERY = 0.05  # seconds between two looks at the event loop
TASKS_EVERY = 10  # looks between two counts of its tasks
Values = Callable[[], Mapping[tuple[str, ...], float]]  # by the values of the labels


class Metrics:
    """The metrics of one server; `add` takes in figures that parts of it keep anyway."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (GCCollector, PlatformCollector, ProcessCollector):
            collector(registry=registry)
        self._pulled = _Pulled()
        registry.register(self._pulled)
        self._calls = Counter("polylens_requests", "Calls answered.", ["method", "code"], registry=registry)
        self._seconds = Histogram(
            "polylens_request_seconds", "Time of a call.", ["method"], buckets=SECONDS, registry=registry
        )
        self._stages = Histogram(
            "polylens_stage_seconds",
            "Time of an entry in each stage: prepare, queue, encode; store counts by request.",
            ["stage", "input"],
            buckets=SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "polylens_batch_size", "Entries of a forward pass.", ["input"], buckets=SIZES, registry=registry
        )
        self._lag = Histogram(
            "polylens_event_loop_lag_seconds",
            "How much too late the event loop woke a sleeper.",
            buckets=SECONDS[:12],
            registry=registry,
        )
        self._tasks = Gauge("polylens_tasks", "Tasks of the event loop.", registry=registry)

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call was answered."""
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)

    def entry(self, input: str, done: Done[object]) -> None:
        """An entry went through a batcher."""
        stages = {"prepare": done.prepare, "queue": done.queue, "encode": done.run}
        for stage, seconds in stages.items():
            self._stages.labels(stage, input).observe(seconds)

    def stored(self, seconds: float) -> None:
        """A request worked on a collection."""
        self._stages.labels("store", "points").observe(seconds)

    def batch(self, input: str, size: int) -> None:
        """A batch ran."""
        self._batches.labels(input).observe(size)

    def add(self, name: str, help: str, labels: Iterable[str], values: Values) -> None:
        """A figure to ask for at each look; a counter if the name ends in `_total`, else a gauge."""
        self._pulled.figures.append((name, help, tuple(labels), values))

    async def watch_lag(self) -> None:
        """Looks at the event loop until it is cancelled."""
        for look in count():
            if look % TASKS_EVERY == 0:
                self._tasks.set(len(asyncio.all_tasks()))
            begun = time.monotonic()
            await asyncio.sleep(LAG_EVERY)
            self._lag.observe(max(0.0, time.monotonic() - begun - LAG_EVERY))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class _Pulled(Collector):
    def __init__(self) -> None:
        self.figures: list[tuple[str, str, tuple[str, ...], Values]] = []

    def describe(self) -> list[Metric]:
        return []  # nothing is asked for before a server runs

    def collect(self) -> Iterator[Metric]:
        for name, help, labels, values in self.figures:
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(name, help, labels=labels)
            for label_values, value in values().items():
                family.add_metric(label_values, value)
            yield family
