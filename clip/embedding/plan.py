"""The plan of a job: its settings and its units, written once and the same ever after.

    OUT/job/settings.json   what was asked for, the model, and the digest of the units
    OUT/job/units.jsonl     a line for each unit, in order
    OUT/job/claims/         locks of the units that are being worked on

A source that changes later changes neither: what is gone is refused, what is new is another job.
"""

import fcntl
import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Self

from ...backbone.saved_runs import refuse_others
from ...errors import InvalidInput
from ...whole import clear_leftovers, write_whole
from .errors import BadSource
from .samples import Reject, Sample
from .settings import Kind, Part, Settings, Unit
from .sources.kinds import KINDS, kind_of

FOLDER, SETTINGS, UNITS, CLAIMS = "job", "settings.json", "units.jsonl", "claims"


class Plan:
    """The units of a job in random access; of each only its place in the file is in memory."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.about: dict[str, Any] = json.loads((out / FOLDER / SETTINGS).read_text("utf-8"))
        self.settings = Settings.from_dict(self.about["settings"])
        self.kind: Kind = KINDS[self.about["kind"]]
        self.samples: int | None = self.about["samples"]  # None where tars are not read yet
        self._offsets = array("q")
        digest = hashlib.sha256()
        with self._units.open("rb") as file:
            for line in file:
                self._offsets.append(file.tell() - len(line) if not self._offsets else self._end)
                self._end = self._offsets[-1] + len(line)
                digest.update(line)
        if digest.hexdigest() != self.about["units_sha256"]:
            raise InvalidInput(f"{self._units} is damaged: begin the job anew in another folder")

    _end = 0

    @property
    def _units(self) -> Path:
        return self.out / FOLDER / UNITS

    def __len__(self) -> int:
        return len(self._offsets)

    def unit(self, number: int) -> Unit:
        """The unit of that number, from 0."""
        with self._units.open("rb") as file:
            file.seek(self._offsets[number])
            line = json.loads(file.readline())
        return Unit(number, Part(line["where"], line["samples"]))

    def read(self, unit: Unit) -> Iterator[Sample | Reject]:
        """The samples of a unit, in their order."""
        return self.kind.read(unit.part, self.settings)

    @classmethod
    def made(
        cls, out: Path, sources: Sequence[str], kind: str, settings: Settings, model: dict[str, Any]
    ) -> Self:
        """The plan in `out`, which is made now unless it is there; `InvalidInput` if it is another job's."""
        folder = out / FOLDER
        (folder / CLAIMS).mkdir(parents=True, exist_ok=True)
        asked = {"sources": list(sources), "settings": settings.as_dict(), "model": model}
        with locked(out):
            if not (folder / SETTINGS).exists():
                kind = kind_of(sources) if kind == "auto" else kind
                _write(folder, kind, asked, KINDS[kind].parts(sources, settings))
        plan = cls(out)
        _refuse_another(plan.about, asked)
        return plan


def _refuse_another(before: dict[str, Any], now: dict[str, Any]) -> None:
    refuse_others({"source": before["sources"]}, {"source": now["sources"]})
    refuse_others(before["settings"], now["settings"])
    refuse_others(before["model"], now["model"])


def _write(folder: Path, kind: str, asked: dict[str, Any], parts: Iterator[Part]) -> None:
    """Writes the units, then the settings, whose presence says that the units are whole."""
    first = next(parts, None)
    if first is None:
        raise BadSource(f"{', '.join(asked['sources'])} holds nothing")
    digest = hashlib.sha256()
    samples: list[int | None] = [0]

    def write(path: Path) -> None:
        with path.open("wb") as file:
            for part in chain([first], parts):
                line = json.dumps({"where": part.where, "samples": part.samples}).encode() + b"\n"
                file.write(line)
                digest.update(line)
                known = None if part.samples is None or samples[0] is None else samples[0] + part.samples
                samples[0] = known

    clear_leftovers(folder / UNITS)
    write_whole(folder / UNITS, write, sync=True)
    about = asked | {"kind": kind, "samples": samples[0], "units_sha256": digest.hexdigest()}
    text = json.dumps(about, indent=1, ensure_ascii=False)
    clear_leftovers(folder / SETTINGS)
    write_whole(folder / SETTINGS, lambda path: path.write_text(text + "\n", "utf-8"), sync=True)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The job as a whole, held by one process at a time; the others wait."""
    with (out / FOLDER / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def claim(out: Path, number: int) -> Callable[[], object] | None:
    """A function that gives the unit back; None if another process has it. A dead process has nothing."""
    file = (out / FOLDER / CLAIMS / str(number)).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file.close


def mine(units: Iterable[int], rank: int, world: int) -> tuple[list[int], list[int]]:
    """The units of one process among several, and those of the others, in case these never come."""
    units = list(units)
    return [n for n in units if n % world == rank], [n for n in units if n % world != rank]
