"""What is noted about each call: metrics, a trace if one is wanted, a line in the log. Never its content."""

import logging
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from .metrics import Metrics

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
SANE = re.compile(r"[\w.:-]{1,64}")
STAGES = ("prepare", "queue", "encode", "store", "total")
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Call:
    """One call under way; whoever answers it fills in what is known."""

    code: str = "OK"
    holder: str = ""
    size: int = 0
    milliseconds: dict[str, float] = field(default_factory=dict)

    def timed(self, reply: Any) -> None:
        """Adds the timings of a reply that has some; a stream has many replies."""
        timings = getattr(reply, "timings", None)
        for name in STAGES if timings else ():
            spent = float(getattr(timings, f"{name}_ms", 0.0))
            self.milliseconds[name] = self.milliseconds.get(name, 0.0) + spent


class Tracer(Protocol):
    """Opens a span for a call and closes it with what the call came to; see tracing.py."""

    def span(self, method: str, headers: Mapping[str, str], call: Call) -> AbstractContextManager[None]: ...


class Observer:
    """Notes every call; with `lines`, also in the log."""

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None, *, lines: bool = False) -> None:
        self._metrics, self._tracer, self._lines = metrics, tracer, lines

    @contextmanager
    def call(self, method: str, headers: Mapping[str, str]) -> Iterator[Call]:
        """The call, to be filled in; a cancelled one counts as such."""
        given = headers.get("x-request-id", "")
        token = REQUEST_ID.set(given if SANE.fullmatch(given) else uuid.uuid4().hex[:16])
        call, begun = Call(), time.perf_counter()
        try:
            with self._tracer.span(method, headers, call) if self._tracer else nullcontext():
                try:
                    yield call
                except BaseException:
                    call.code = "CANCELLED" if call.code == "OK" else call.code
                    raise
        finally:
            self._finish(method, call, time.perf_counter() - begun)
            REQUEST_ID.reset(token)

    def _finish(self, method: str, call: Call, seconds: float) -> None:
        self._metrics.called(method, call.code, seconds)
        if call.milliseconds.get("store"):
            self._metrics.stored(call.milliseconds["store"] / 1000)
        if self._lines:
            told = {"method": method, "code": call.code, "holder": call.holder, "bytes": call.size}
            told |= {"ms": round(1000 * seconds, 1)}
            logger.info("%s %s", method, call.code, extra={"told": told})
