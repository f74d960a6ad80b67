"""`polylens serve` as a process, with a tiny untrained InternVL-C: what it acknowledged survives SIGKILL."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from polylens.service.client import Client

SERVE = "from polylens.cli import main; main()"
# The control: a server that acknowledges points named "lost" without storing them.
LIAR = f"""
from polylens.service import shelf
write = shelf.write
def lie(collection, rows, *rest):
    return write(collection, [row for row in rows if row[1].id != "lost"], *rest)
shelf.write = lie
{SERVE}
"""


class Process:
    """A server in a process of its own, which writes to the files `log` and `log`.err."""

    def __init__(self, program: str, log: Path, *flags: str) -> None:
        command = [sys.executable, "-c", program, "serve", "--drain-seconds", "0", *flags]
        self.out, self.err = log, log.with_suffix(".err")
        with open(self.out, "w") as out, open(self.err, "w") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )

    def address(self) -> str:
        """Where it answers, once it does."""
        while not (said := self.out.read_text()).endswith("\n"):
            assert self.process.poll() is None, self.err.read_text()
            time.sleep(0.05)
        return said.split(" on ")[1].split(",")[0]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(10) == -signal.SIGKILL


@pytest.fixture
def start(tiny_model: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(program: str, port: str = "0") -> Process:
        log, data = tmp_path / f"log{len(started)}", tmp_path / "data"
        started.append(Process(program, log, "--model", str(tiny_model), "--data", str(data), "--port", port))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait()


def store(address: str, id: str, picture: bytes) -> None:
    """Returns when the server acknowledged the picture."""
    with Client(address) as client:
        client.create_collection("photos", exist_ok=True)
        assert client.upsert([id], collection="photos", images=[picture], metadata=[{"id": id}]) == 1


def found(address: str, id: str, picture: bytes) -> bool:
    """Whether the picture is there, by id and as the best hit for itself."""
    with Client(address) as client:
        if client.get([id], collection="photos") == [None]:
            return False
        hit = client.search(image=picture)[0]
        return hit.id == id and hit.metadata == {"id": id} and hit.score > 0.999


def test_what_was_acknowledged_is_found_after_sigkill(
    start: Callable[..., Process], picture: Callable[..., bytes]
) -> None:
    kept, lost = picture((0, 0, 250), 64), picture((250, 0, 0), 64)
    first = start(LIAR)
    store(first.address(), "kept", kept)
    store(first.address(), "lost", lost)
    first.kill()

    server = start(SERVE)
    address = server.address()
    assert found(address, "kept", kept)
    assert not found(address, "lost", lost)  # the control: what was not stored is missed
    second = start(SERVE, port=address.split(":")[1])
    with Client(address) as client:
        assert client.search("kikombe cha chai")[0].id == "kept"
        assert client.search("neno " * 200).truncated

    assert second.process.wait(60) == 1
    said = second.err.read_text()
    assert said == f"polylens: cannot listen on {address}: the port is in use\n"

    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.err.read_text()
