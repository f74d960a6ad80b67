"""Pictures of strangers are decoded in processes of their own, which may die, hang or swell without harm.

What a process is told and answers are plain bytes: who takes it over can answer nonsense, not run code here.
"""

import hashlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DecodingStopped, InvalidImage, PictureTooLarge
from .framing import receive, send

MAX_REPLY = 256 << 20  # bytes; 40 million pixels of 4 channels have 160 MB
STARTING = 30.0  # seconds more for the first picture of a process, which may still be starting
PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")
MAX_POISON = 1000
REFUSALS = {"invalid": InvalidImage, "too large": PictureTooLarge}
Prepared = NDArray[Any] | Image.Image


class Decoders:
    """`count` processes that follow a recipe (see ../recipe.py), one picture at a time each.

    A picture may take `seconds`, and `memory` bytes beyond what a process has. A process that dies is
    replaced and its picture tried once more: then it is the picture's fault.
    """

    def __init__(self, count: int, recipe: str, *, seconds: float = 10.0, memory: int = 1 << 30) -> None:
        self._recipe, self._seconds, self._memory = recipe, seconds, memory
        self._lock, self._closed, self.restarts = threading.Lock(), False, 0
        # The last one used comes first: under little load few are kept busy, and warm.
        self._free: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._all: set[_Process] = set()
        self._poison: dict[bytes, None] = {}
        for _ in range(count):
            self._begin()

    def prepare(self, image: bytes) -> Prepared:
        """What the recipe makes of an encoded picture; `InvalidImage` if it cannot be decoded."""
        digest = hashlib.sha256(image).digest() if self._poison else b""
        if digest in self._poison:
            raise InvalidImage("the picture broke the decoder before")
        for _ in range(2):
            process = self._free.get()
            try:
                made = process.ask(image, self._seconds)
            except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
                self._replace(process)
                if isinstance(error, TimeoutError):  # twice as long would not help those who wait
                    break
            else:
                self._free.put(process)
                if isinstance(made, Exception):
                    raise made
                return made
        self._poison[hashlib.sha256(image).digest()] = None
        if len(self._poison) > MAX_POISON:
            self._poison.pop(next(iter(self._poison)), None)
        raise InvalidImage(f"the picture breaks the decoder, or takes longer than {self._seconds:g} s")

    def close(self) -> None:
        """Ends the processes; pictures under way are given up."""
        with self._lock:
            self._closed = True
            for process in self._all:
                process.kill()

    def _begin(self) -> None:
        with self._lock:
            if self._closed:
                raise DecodingStopped("the decoding processes were ended")
            process = _Process(self._recipe, self._seconds, self._memory)
            self._all.add(process)
        self._free.put(process)

    def _replace(self, process: "_Process") -> None:
        process.kill()
        with self._lock:  # `close` may be going through them
            self._all.discard(process)
            self.restarts += 1
        self._begin()


class _Process:
    """A decoding process, which begins when this is made."""

    def __init__(self, recipe: str, seconds: float, memory: int) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            arguments = [str(number), recipe, str(seconds), str(memory)]
            environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "polylens.clip.decoding.process", *arguments],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                cwd="/",
            )
        self._spare = STARTING

    def ask(self, image: bytes, seconds: float) -> Prepared | Exception:
        """What it makes of the picture or says against it; raises whatever else goes wrong with it."""
        end = time.monotonic() + seconds + self._spare
        self._spare = 0.0
        send(self._channel, b"", image, end)
        header, body = receive(self._channel, MAX_REPLY, end)
        return _read(json.loads(header), body)

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


def _read(header: dict[str, Any], body: bytearray) -> Prepared | Exception:
    if header["kind"] == "pixels":
        return np.frombuffer(body, np.float32).reshape(header["shape"])
    if header["kind"] == "image":
        image = Image.frombytes(header["mode"], tuple(header["size"]), bytes(body))
        if header["palette"]:
            image.putpalette(bytes(header["palette"]), header["palette_mode"])
        return image
    return REFUSALS[header["kind"]](str(header["message"]))
