"""A server in a process of its own, and what it holds: memory, descriptors, threads, tasks."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PROGRAM = "from polylens.cli import main; main()"
PAGE = os.sysconf("SC_PAGE_SIZE")
STARTING = ENDING = 240.0  # seconds on a busy machine


@dataclass(frozen=True)
class Holdings:
    """What a server has in its hands: bytes of itself and of its children, descriptors, threads, tasks."""

    memory: int
    children: int
    descriptors: int
    threads: int
    tasks: int


class Process:
    """`polylens serve` with these flags, answering when this returns; `program` may be a doctored one."""

    def __init__(
        self, folder: Path, *flags: str, program: str = PROGRAM, model: str = "mini", threads: int = 1
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self._folder, self._flags, self._program, self._model = folder, flags, program, model
        self.grpc, self.http = "127.0.0.1:0", "127.0.0.1:0"
        self.start()

    def start(self) -> Self:
        """Starts it, at the same addresses if it ran before."""
        port, http_port = (address.rpartition(":")[2] for address in (self.grpc, self.http))
        command = [sys.executable, "-c", self._program, "serve", "--model", self._model, "--port", port]
        command += ["--http-port", http_port, "--data", str(self._folder / "data"), *self._flags]
        out = self._folder / "out"
        with open(out, "w") as said, open(self._folder / "log", "a") as log:
            self.process = subprocess.Popen(command, stdout=said, stderr=log, env=self._environment)
        end = time.monotonic() + STARTING
        while not (found := re.search(r" on (\S+), page on http://(\S+)/,", out.read_text())):
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the server did not start: {self.log()[-2000:]}")
            time.sleep(0.02)
        self.grpc, self.http = found[1], found[2]
        return self

    @property
    def alive(self) -> bool:
        """Whether it is still the process that was started."""
        return self.process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code, after a signal."""
        self.process.send_signal(number)
        return self.process.wait(ENDING)

    def kill(self) -> None:
        """Ends it if it has not ended."""
        self.process.kill()
        self.process.wait()

    def pids(self) -> list[int]:
        """The process and those that it started."""
        return [self.process.pid, *(int(one.name) for one in children(self.process.pid))]

    def log(self) -> str:
        """What it wrote to stderr, in all its lives."""
        return (self._folder / "log").read_text(errors="replace")

    def holdings(self) -> Holdings:
        """What it holds now."""
        pid = self.process.pid
        proc = Path(f"/proc/{pid}")
        metrics = self.metrics()
        return Holdings(
            memory=resident(proc),
            children=sum(map(resident, children(pid))),
            descriptors=len(os.listdir(proc / "fd")),
            threads=len(os.listdir(proc / "task")),
            tasks=int(metrics.get("polylens_tasks", 0)),
        )

    def metrics(self) -> dict[str, float]:
        """Its metrics by name and labels."""
        for last in (False, False, False, True):
            try:
                with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=30) as reply:
                    lines = reply.read().decode().splitlines()
                break
            except OSError:  # too late, on a busy machine
                if last:
                    raise
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()


def resident(proc: Path) -> int:
    """The bytes in memory of the process with that folder of /proc, 0 if it has ended."""
    try:
        return int((proc / "statm").read_text().split()[1]) * PAGE
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has just ended


def worked(pids: Iterable[int]) -> float:
    """The seconds of processor time that these processes have taken in all."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[Path]:
    """The folders of /proc of the processes that it started."""
    numbers: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            numbers += (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [Path(f"/proc/{number}") for number in numbers]
