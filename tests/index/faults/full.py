"""The full tier: the suites of this folder at their full size, by one command that can be broken off.

    python -m polylens.tests.index.faults.full --out faults                 # everything
    python -m polylens.tests.index.faults.full kills powercuts --jobs 1     # some of it
    python -m polylens.tests.index.faults.full --summary                    # what was done so far

The work is cut into portions of a minute or two, each with its own seed. What came of one is appended to
OUT/results.jsonl; the next start leaves it out, unless the code has changed since (`--any-code` counts it
nevertheless). The exit code is 1 if anything was lost, accepted or wrong.
"""

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polylens import index

from . import contest, failing, kills, mutations, operations, powercuts, recovery, script
from .sweep import Swept

SCRIPT = 300  # operations
STEP = 10  # of them in one portion
SEED = 20_261


@dataclasses.dataclass(frozen=True)
class Portion:
    """A part of a campaign: `number` chooses seed and range."""

    campaign: str
    number: int

    @property
    def seed(self) -> int:
        return SEED + self.number

    @property
    def operations(self) -> range:
        return range(self.number * STEP, (self.number + 1) * STEP)


def _around(portion: Portion, scratch: Path) -> Swept:
    return kills.kills_around_every_call(portion.operations, scratch)


def _powercuts(portion: Portion, scratch: Path) -> powercuts.Cut:
    return powercuts.power_cuts(200, 40 + 10 * (portion.number % 12), scratch, portion.seed)


def _contest(portion: Portion, scratch: Path) -> contest.Report:
    factory = ("IVF4,Flat", "Flat", "IVF4,Flat", "HNSW8")[portion.number % 4]
    exact = factory != "HNSW8"
    effort = contest.EXHAUSTIVE if exact else contest.USUAL
    with contest.small_segments():
        return contest.run(scratch, 150, factory, exact, effort, seed=portion.seed)


# Campaign: what it is, in how many portions, and a portion.
CAMPAIGNS: dict[str, tuple[str, int, Callable[[Portion, Path], Any]]] = {
    "kills": (
        "10 000 kills at random moments, two threads writing",
        100,
        lambda portion, scratch: kills.random_kills(100, scratch, portion.seed),
    ),
    "around": (
        "a kill before, within and after every call of a 300-operation script",
        SCRIPT // STEP,
        _around,
    ),
    "opening": (
        "2 000 kills while opening",
        10,
        lambda portion, scratch: recovery.storm(200, scratch, portion.seed),
    ),
    "powercuts": ("5 000 simulated power cuts", 25, _powercuts),
    "full-disk": (
        "a disk full at every call of the script that needs room",
        SCRIPT // STEP,
        lambda portion, scratch: failing.full_disk(portion.operations, scratch),
    ),
    "syncs": (
        "every sync of the script fails",
        SCRIPT // STEP,
        lambda portion, scratch: failing.failing_syncs(portion.operations, scratch),
    ),
    "mutations": (
        "100 000 damaged files of segments",
        20,
        lambda portion, scratch: mutations.mutate(5_000, scratch, portion.seed),
    ),
    "operations": (
        "1 000 000 random operations against a dictionary, with crashes",
        100,
        lambda portion, scratch: operations.lives(10_000, scratch, portion.seed),
    ),
    "contest": ("10 minutes of adding and searching at once against brute force", 4, _contest),
}
WRONG = ("lost", "accepted", "wrong", "disagreed", "mismatches", "errors", "problem")


def sources() -> str:
    """A digest of the code that the campaigns test and of the campaigns."""
    digest = hashlib.sha256()
    for folder in (Path(index.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.glob("*.py")):
            if path.name != Path(__file__).name and not path.name.startswith("test_"):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def carry_out(portion: Portion) -> dict[str, Any]:
    """What came of a portion, as it is recorded."""
    code, begun = sources(), time.monotonic()
    try:
        with script.scratch() as scratch:
            found = dataclasses.asdict(CAMPAIGNS[portion.campaign][2](portion, scratch))
    except Exception as error:
        found = {"problem": [repr(error)]}
    return {
        "campaign": portion.campaign,
        "number": portion.number,
        "seed": portion.seed,
        "code": code,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - begun, 1),
        "found": {key: [str(item) for item in v] if isinstance(v, list) else v for key, v in found.items()},
    }


def recorded(path: Path, code: str | None) -> dict[Portion, dict[str, Any]]:
    """The newest record of each portion, of this code or, without, of any."""
    lines = path.read_text().splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines]
    return {
        Portion(one["campaign"], one["number"]): one for one in records if code is None or one["code"] == code
    }


def summarise(records: dict[Portion, dict[str, Any]], names: Sequence[str]) -> bool:
    """Prints a line for each campaign; whether nothing went wrong."""
    fine = True
    for name in names:
        what, portions, _ = CAMPAIGNS[name]
        mine = [record for portion, record in records.items() if portion.campaign == name]
        counts, wrong = Counter[str](), []
        for record in mine:
            found = record["found"]
            counts.update({key: v for key, v in found.items() if isinstance(v, int | float)})
            wrong += [sentence for key in WRONG for sentence in found.get(key, [])]
        numbers = ", ".join(f"{key} {round(count):,}" for key, count in counts.items())
        seconds = sum(record["seconds"] for record in mine)
        codes = sorted({record["code"] for record in mine})
        print(f"{name:12}{len(mine)}/{portions} portions, {seconds / 60:.1f} min: {what}")
        print(f"{'':12}{numbers}; code {', '.join(codes) or 'none'}; wrong: {wrong[:3] or 'nothing'}")
        fine &= not wrong
    return fine


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=", ".join(CAMPAIGNS))
    parser.add_argument("--out", type=Path, default=Path("faults"), help="folder of results.jsonl")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--any-code", action="store_true", help="count what older code came to")
    parser.add_argument("--summary", action="store_true", help="only say what was done")
    options = parser.parse_args()
    names = options.campaigns or list(CAMPAIGNS)
    if unknown := set(names) - set(CAMPAIGNS):
        parser.error(f"campaigns are {', '.join(CAMPAIGNS)}, not {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    results, code = options.out / "results.jsonl", None if options.any_code else sources()
    done = recorded(results, code)
    most = max(CAMPAIGNS[name][1] for name in names)  # of all campaigns in turn: each has some early
    waiting = [Portion(name, n) for n in range(most) for name in names if n < CAMPAIGNS[name][1]]
    waiting = [portion for portion in waiting if portion not in done and not options.summary]
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.jobs, maxtasksperchild=1) as pool, results.open("a") as file:
        for record in pool.imap_unordered(carry_out, waiting):
            print(json.dumps(record), file=file, flush=True)
            print(f"{record['campaign']} {record['number']}: {record['found']}"[:400], flush=True)
    sys.exit(not summarise(recorded(results, code), names))


if __name__ == "__main__":
    main()
