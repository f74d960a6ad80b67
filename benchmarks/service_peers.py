"""The same model behind polylens and behind other servers: 16 requests of one entry in flight, over HTTP.

Peers are started by commands of your own, each in its environment. Any server that speaks OpenAI's
`/v1/embeddings` (infinity does) or LitServe's `/predict` can be given. All run at once and are asked in turn,
so that other load hits all alike. Beside them stands the bare model: one forward pass after the other, all
decoded and cut into tokens beforehand, texts padded to 77.

    python benchmarks/service_peers.py --model hf:FOLDER \
        --peer infinity=http://127.0.0.1:7997/v1/embeddings --start infinity="infinity_emb v2 ..." \
        --peer litserve=http://127.0.0.1:7998/predict --start litserve="python app.py"
"""

import argparse
import base64
import http.client
import itertools
import json
import os
import shlex
import signal
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polylens
import torch
from campaigns.process import Process, resident, worked
from common import machine, parse, parser, ratio, save, table
from service_load import inputs

FLYING = 16
TOKENS = 77
HEAD = ("server", "a second", "polylens over it", "CPU ms each", "p50 ms", "p99 ms", "GB")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
STARTING = 180.0


def openai(kind: str, entry: Any) -> dict[str, Any]:
    """The body for OpenAI's format, with infinity's word for pictures."""
    if kind == "text":
        return {"model": "vitb32", "input": [entry]}
    return {"model": "vitb32", "modality": "image", "input": [f"data:image/jpeg;base64,{_base64(entry)}"]}


def litserve(kind: str, entry: Any) -> dict[str, Any]:
    """The body for a LitServe program of one entry a request."""
    return {"text": entry} if kind == "text" else {"image": _base64(entry)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True)
class Peer:
    """A server that is asked at this address; `pids` are all its processes."""

    name: str
    url: str
    pids: Callable[[], list[int]]
    without: tuple[str, ...] = ()  # fields that it does not take

    def ask(self, connection: http.client.HTTPConnection, kind: str, entry: Any) -> None:
        """Returns when the vector is there."""
        path = urllib.parse.urlsplit(self.url).path
        body = (openai if path.endswith("embeddings") else litserve)(kind, entry)
        body = {name: value for name, value in body.items() if name not in self.without}
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        reply = connection.getresponse()
        said = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{self.name}: {reply.status} {said[:200]!r}")

    def memory(self) -> float:
        """GB of all its processes together."""
        return sum(resident(Path(f"/proc/{pid}")) for pid in self.pids()) / 1e9


def flood(peer: Peer, kind: str, source: Iterator[Any], seconds: float) -> tuple[float, float, list[float]]:
    """Answers a second, processor ms of the server for each, and how long each took; 16 in flight."""
    before = worked(peer.pids())
    lock, trips, faults = threading.Lock(), list[float](), list[Exception]()
    end = time.perf_counter() + seconds

    def caller() -> None:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(peer.url).netloc, timeout=60)
        try:
            while (begun := time.perf_counter()) < end and not faults:
                with lock:
                    entry = next(source)
                peer.ask(connection, kind, entry)
                trips.append(1000 * (time.perf_counter() - begun))
        except Exception as error:
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=caller) for _ in range(FLYING)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    cost = 1000 * (worked(peer.pids()) - before) / len(trips)
    return len(trips) / (time.perf_counter() - begun), cost, trips


def bare(encoder: Any, kind: str, seconds: float) -> tuple[float, float]:
    """Entries a second of the forward pass in batches of 16, all prepared, and processor ms for each."""
    entries = list(itertools.islice(inputs(kind), FLYING))
    if kind == "image":
        ready = torch.from_numpy(np.stack([encoder.prepare_image(one) for one in entries]))
        forward = encoder.forward_images
    else:
        ids = [encoder.prepare_text(one)[:TOKENS] for one in entries]
        ready = torch.from_numpy(np.stack([np.pad(one, (0, TOKENS - len(one)), mode="edge") for one in ids]))
        forward = encoder.forward_texts
    done, begun, before = 0, time.perf_counter(), time.process_time()
    with torch.inference_mode():
        while (taken := time.perf_counter() - begun) < seconds:
            forward(ready)
            done += FLYING
    return done / taken, 1000 * (time.process_time() - before) / done


@contextmanager
def started(name: str, url: str, command: str | None) -> Iterator[Peer]:
    """A peer that answers; it ends with the `with` if it was started here."""
    if command is None:
        yield Peer(name, url, list)
        return
    with open(Path(tempfile.gettempdir()) / f"{name}.log", "w") as log:
        process = subprocess.Popen(
            shlex.split(command), stdout=log, stderr=log, start_new_session=True, env=os.environ | OFFLINE
        )
    peer = Peer(name, url, lambda: _session(process.pid))
    try:
        end = time.monotonic() + STARTING
        while True:
            try:
                flood(peer, "text", inputs("text"), 0.1)
                break
            except (OSError, RuntimeError, http.client.HTTPException):
                if process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(1)
        yield peer
    finally:
        for pid in _session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _session(leader: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(stat.parent.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def compare(peers: list[Peer], encoder: Any, kind: str, rounds: int, seconds: float) -> dict[str, Any]:
    """All in turn, some rounds."""
    source = inputs(kind)
    rates: dict[str, list[float]] = {name: [] for name in ("bare forward", *(peer.name for peer in peers))}
    costs: dict[str, list[float]] = {name: [] for name in rates}
    trips: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(rounds + 1):
        for peer in peers if turn % 2 else reversed(peers):
            rate, cost, times = flood(peer, kind, source, seconds if turn else 2.0)
            if turn:  # the first round warms up
                rates[peer.name].append(rate)
                costs[peer.name].append(cost)
                trips[peer.name] += times
        rate, cost = bare(encoder, kind, seconds if turn else 1.0)
        if turn:
            rates["bare forward"].append(rate)
            costs["bare forward"].append(cost)
    own = rates[peers[0].name]
    rows = [
        [name, statistics.median(found), ratio(own, found), statistics.median(costs[name])]
        + (
            [statistics.median(times), float(np.quantile(times, 0.99))]
            if (times := trips.get(name))
            else [None] * 2
        )
        + [next((peer.memory() for peer in peers if peer.name == name), None)]
        for name, found in rates.items()
    ]
    print(f"\n{kind}, {FLYING} requests in flight\n\n{table(HEAD, rows)}", flush=True)
    return {"kind": kind, "rates": rates, "costs": costs, "rows": rows}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", default="mini")
    options.add_argument("--dtype", default="float32")
    options.add_argument("--peer", action="append", default=[], metavar="NAME=URL")
    options.add_argument("--start", action="append", default=[], metavar="NAME=COMMAND")
    options.add_argument("--kinds", nargs="+", default=["image", "text"])
    options.add_argument("--seconds", type=float, default=8.0)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="more, for polylens serve")
    given = parse(options, "service_peers", {"seconds": 1.0, "rounds": 1})
    before = machine()
    torch.set_num_threads(cores := before["cores"])
    encoder = polylens.load(given.model, dtype=given.dtype)
    commands = dict(one.split("=", 1) for one in given.start)
    flags = ("--dtype", given.dtype, "--drain-seconds", "0", *given.flags)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        own = stack.enter_context(Process(folder, *flags, model=given.model, threads=cores))
        peers = [Peer("polylens", f"http://{own.http}/v1/embeddings", own.pids, without=("model",))]
        for name, url in (one.split("=", 1) for one in given.peer):
            peers.append(stack.enter_context(started(name, url, commands.get(name))))
        results = [compare(peers, encoder, kind, given.rounds, given.seconds) for kind in given.kinds]
    save(given, before, results)


if __name__ == "__main__":
    main()
