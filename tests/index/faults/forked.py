"""Children that may be killed: a process of one thread forks them, so that nobody pays for the imports twice.

Run as a program, this reads lines of JSON {"job": "module:function", "arguments": {...}}, forks a child for
each, and says how it ended. The child's function gets `say`, which writes a line.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from types import TracebackType
from typing import IO, Any

PACKAGE = __package__ or "polylens.tests.index.faults"
Say = Callable[..., None]
READ = "read\n"


class Forker:
    """The process that forks, seen from the suite. One child at a time."""

    def __init__(self, *modules: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{PACKAGE}.forked", *modules],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.child = 0

    def run(self, job: str, **arguments: Any) -> Iterator[list[str]]:
        """The child's lines, word by word, as they come; the last: end, exit code or minus the signal.

        The child runs from now on, whether its lines are read or not.
        """
        order, answers = self._pipes()
        print(json.dumps({"job": job, "arguments": arguments}), file=order, flush=True)
        self.child = int(answers.readline())
        return self._lines()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        order, answers = self._process.stdin, self._process.stdout
        if order is None or answers is None:
            raise RuntimeError("the forker has no pipes")
        return order, answers

    def _lines(self) -> Iterator[list[str]]:
        order, answers = self._pipes()
        for line in answers:
            if line == "end\n":
                self.child = 0
                print(READ, end="", file=order, flush=True)
                yield ["end", answers.readline().strip()]
                return
            yield line.split()
        raise RuntimeError("the forker itself died")

    def kill(self) -> None:
        """Kills the child, which may have ended by itself already."""
        if self.child:
            os.kill(self.child, signal.SIGKILL)

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(timeout=60)

    def __enter__(self) -> "Forker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    for module in sys.argv[1:]:
        import_module(f"{PACKAGE}.{module}")
    for line in sys.stdin:
        order = json.loads(line)
        module, _, function = order["job"].partition(":")
        work = getattr(import_module(f"{PACKAGE}.{module}"), function)
        child = os.fork()
        if child == 0:
            try:
                say(os.getpid())
                work(say, **order["arguments"])
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        # Until the suite has read of the end it may kill: the child's id must not go to a stranger before.
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        say("end")
        if sys.stdin.readline() != READ:
            return
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
