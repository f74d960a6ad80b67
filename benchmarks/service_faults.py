"""Campaigns against a real server: what tests do a few hundred times, done a hundred thousand times.

    python benchmarks/service_faults.py images      100,000 damaged pictures, through the decoding processes
    python benchmarks/service_faults.py neighbours  100,000 damaged pictures in batches with good ones
    python benchmarks/service_faults.py requests    100,000 malformed requests: messages, JSON bodies, frames
    python benchmarks/service_faults.py cancelled   10,000 calls given up, 10,000 with deadlines too short
    python benchmarks/service_faults.py restarts    100 rolling restarts of two servers under load
    python benchmarks/service_faults.py soak        an hour of everything, and what the server holds meanwhile

`--count` and `--minutes` make them shorter, `--json FILE` keeps the figures. The exit code is 1 if anything
was wrong. docs/reliability-service.md has the figures.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from campaigns import cancelled, images, requests, restarts, soak
from campaigns.process import Process
from campaigns.report import Report

Campaign = Callable[[argparse.Namespace, Path], Report]


def against(attack: Callable[[Process, int, int], Report]) -> Campaign:
    """A campaign against one server that is started for it."""

    def run(given: argparse.Namespace, folder: Path) -> Report:
        with Process(folder, "--drain-seconds", "0") as server:
            return attack(server, given.count, given.seed)

    return run


def roll(given: argparse.Namespace, folder: Path) -> Report:
    """Restarts of two servers."""
    with (
        restarts.Recorded(folder / "a", *restarts.FLAGS) as a,
        restarts.Recorded(folder / "b", *restarts.FLAGS) as b,
    ):
        return restarts.roll([a, b], given.count, given.seed, minutes=given.minutes)


def last(given: argparse.Namespace, folder: Path) -> Report:
    """A soak of so many minutes. A cache that fills all the time would look like a leak: it is small."""
    with Process(folder, "--drain-seconds", "0", "--cache-mb", "1") as server:
        return soak.soak(server, given.minutes, given.seed)


CAMPAIGNS: dict[str, tuple[int, Campaign]] = {
    "images": (100_000, lambda given, folder: images.decode(given.count, given.seed)),
    "neighbours": (100_000, against(images.neighbours)),
    "requests": (100_000, against(requests.attack)),
    "cancelled": (10_000, against(cancelled.give_up)),
    "restarts": (100, roll),
    "soak": (0, last),
}


def main() -> None:
    """Runs one campaign and says what it found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("--count", type=int, help="how many pictures, requests or restarts")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="the soak takes so long, restarts at most"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where the figures go")
    given = parser.parse_args()
    usual, run = CAMPAIGNS[given.campaign]
    given.count = given.count or usual
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        report = run(given, Path(folder))
    print(report.text())
    if given.json:
        report.save(given.json)
    sys.exit(bool(report.wrong))


if __name__ == "__main__":
    main()
