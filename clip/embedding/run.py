"""A job from its plan to its manifest: as much of it as this process can do."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ...backbone.world import World
from ...errors import InvalidInput
from ..decoding.pool import Decoders
from ..encoder import Encoder
from ..reader import PROMPT, reader_of
from .encode import Batch, Describe, Rows, encode
from .errors import Incomplete
from .locations import is_url
from .manifest import finish
from .pipeline import Begin, End, staged
from .plan import Plan, mine
from .prepare import decode_here, decode_there, prepare
from .settings import Settings
from .shards import Shard, ShardWriter

ATTEMPTS = 3  # of a unit whose source fails, as a network does
PAUSE = 0.5  # seconds before the second, twice that before the third
BEAMS, LEAST, MOST = 5, 8, 30  # of captions: beams, and tokens, as in InternVL's evaluation
ALONE = World(0, 1, 0)

Model = Callable[[Iterator[Batch]], Iterator[Rows]]
Report = Callable[[int, int, int], object]  # so many samples more, of these refused, and units complete


def plan_of(
    encoder: Encoder, sources: Sequence[str], out: Path, settings: Settings, kind: str = "auto"
) -> Plan:
    """The plan of the job in `out`, made now or by an earlier run; `InvalidInput` if that was another job."""
    inside = [one for one in sources if not is_url(one) and out.resolve().is_relative_to(Path(one).resolve())]
    if inside:
        raise InvalidInput(f"{out} lies in {inside[0]}, which is read: choose a folder outside")
    model = {
        "name": encoder.name,
        "fingerprint": encoder.fingerprint,
        "dim": encoder.dim,
        "precision": str(encoder.dtype).removeprefix("torch."),
    }
    return Plan.made(out, sources, kind, settings, model)


def run_job(
    plan: Plan,
    encoder: Encoder,
    *,
    workers: int,
    world: World = ALONE,
    report: Report = lambda samples, rejected, units: None,
) -> dict[str, Any] | None:
    """The manifest, if every unit is done now; None if other processes have units still.

    This process does its own units, then what it finds undone of the others'. With 0 workers pictures are
    decoded in threads. `Incomplete` if units failed, however often they were tried.
    """
    own, others = mine(range(len(plan)), world.rank, world.size)
    with closing(Bench(plan, encoder, workers)) as bench:
        numbers = [*_undone(plan, own, report), *reversed(others)]
        refuse_failed(retried(lambda numbers: bench.do(numbers, report), numbers))
    return finish(plan)


def retried(do: Callable[[list[int]], dict[int, Exception]], numbers: list[int]) -> dict[int, Exception]:
    """The units that failed as often as they may, with their last errors."""
    failed: dict[int, Exception] = {}
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE * attempt)
        failed = do(numbers)
        if not failed:
            break
        numbers = list(failed)
    return failed


def refuse_failed(failed: dict[int, Exception]) -> None:
    """Raises `Incomplete` if there are any."""
    if failed:
        number, error = next(iter(failed.items()))
        raise Incomplete(f"{len(failed)} units could not be done; unit {number}: {error}") from error


class Bench:
    """What a process does units with: a model, and processes that decode for it, kept from unit to unit."""

    def __init__(self, plan: Plan, encoder: Encoder, workers: int) -> None:
        self._plan, self._encoder, self._workers = plan, encoder, workers
        describe = describer(encoder) if plan.settings.captions else None
        self._model = partial(encode, encoder, settings=plan.settings, describe=describe)
        self._decoders = Decoders(workers, encoder.recipe) if workers and plan.settings.images else None
        decode = decode_there(encoder, self._decoders.prepare) if self._decoders else decode_here(encoder)
        self._step = partial(prepare, settings=plan.settings, encoder=encoder, decode=decode)

    def do(self, numbers: Iterable[int], report: Report) -> dict[int, Exception]:
        """Does the units that are neither done nor another's; the errors of those that failed."""
        pin = self._encoder.device.type == "cuda"
        threads = self._workers or self._encoder.workers
        with (
            ExitStack() as claims,
            closing(staged(self._plan, numbers, self._step, claims, workers=threads, pin=pin)) as stream,
        ):
            return dict(_units(self._plan, self._model, stream, report))

    def close(self) -> None:
        """Ends the processes."""
        if self._decoders is not None:
            self._decoders.close()


def _undone(plan: Plan, numbers: Iterable[int], report: Report) -> Iterator[int]:
    """The units that are not done; what the others hold is reported."""
    for number in numbers:
        if record := Shard(plan.out, number, len(plan)).done():
            report(record["sample_count"] + record["rejected"], record["rejected"], 1)
        else:
            yield number


def describer(encoder: Encoder) -> Describe:
    """A sentence about each picture of a batch; `InvalidInput` unless the model is an InternVL-G."""
    reader = reader_of(encoder)
    if reader is None:
        raise InvalidInput(f"{encoder.name} makes no captions: that takes an InternVL-G (--head G)")

    def describe(pixels_BCHW: Tensor) -> list[str]:
        prompts = [PROMPT] * len(pixels_BCHW)
        return reader.caption(list(pixels_BCHW.numpy()), prompts, beams=BEAMS, least=LEAST, most=MOST)

    return describe


def _units(
    plan: Plan, model: Model, stream: Iterator[Begin | Batch | End], report: Report
) -> Iterator[tuple[int, Exception]]:
    """The numbers of the units that failed, with their errors; the others are done."""
    for one in stream:
        if isinstance(one, Begin):
            try:
                error = _unit(plan, model, one, stream, report)
            except OSError as raised:  # of reading it would have come with the stream
                raise Incomplete(f"{plan.out} cannot be written: {raised.strerror or raised}") from raised
            finally:
                one.release()
            if error:
                yield one.unit.number, error


def _unit(
    plan: Plan, model: Model, begin: Begin, stream: Iterator[Begin | Batch | End], report: Report
) -> Exception | None:
    """None when the unit is committed, else what was wrong with its source."""
    shard = Shard(plan.out, begin.unit.number, len(plan))
    watch = Watch(stream)
    with ShardWriter(shard, plan.settings, plan.about["model"]["dim"]) as writer:
        for rows in model(watch.batches()):
            writer.add(rows)
            report(len(rows.rows) + len(rows.rejects), len(rows.rejects), 0)
        if watch.error:
            report(-writer.rows - writer.rejected, -writer.rejected, 0)
            return watch.error
        writer.commit(watch.times())
    report(0, 0, 1)
    return None


class Watch:
    """The batches of one unit, and how long they were waited for."""

    def __init__(self, stream: Iterator[Begin | Batch | End]) -> None:
        self._stream, self._begun, self._waited = stream, time.perf_counter(), 0.0
        self.error: Exception | None = None

    def batches(self) -> Iterator[Batch]:
        """The batches up to the unit's end."""
        while True:
            since = time.perf_counter()
            one = next(self._stream)
            self._waited += time.perf_counter() - since
            if isinstance(one, End):
                self.error = one.error
                return
            if isinstance(one, Batch):
                yield one

    def times(self) -> dict[str, float]:
        """Seconds of waiting for samples, and of everything else, which is the model."""
        return {
            "read_duration": self._waited,
            "inference_duration": time.perf_counter() - self._begun - self._waited,
        }
