"""A process that decodes: `python -m polylens.clip.decoding.process CHANNEL RECIPE SECONDS MEMORY`."""

import json
import resource
import socket
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import InvalidImage
from ..images import MAX_BYTES
from ..recipe import prepared
from .framing import receive, send

PAGE = resource.getpagesize()


def main() -> None:
    """Answers until the parent hangs up."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    recipe, seconds, memory = sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    _limit_memory(memory)
    while True:
        try:
            _, image = receive(channel, MAX_BYTES)
        except (EOFError, ConnectionError):
            return
        _limit_time(seconds)
        try:
            header, body = answer(recipe, bytes(image))
        except InvalidImage as error:
            header, body = {"kind": "invalid", "message": str(error)}, b""
        except MemoryError:
            header, body = {"kind": "too large", "message": "the picture needs too much memory"}, b""
        try:
            send(channel, json.dumps(header).encode(), body)
        except ConnectionError:
            return


def answer(recipe: str, image: bytes) -> tuple[dict[str, Any], bytes | memoryview]:
    """Header and body of the answer to a picture."""
    made = prepared(recipe, image)
    if not isinstance(made, Image.Image):
        return {"kind": "pixels", "shape": made.shape}, made.data.cast("B")
    palette = made.palette
    header = {
        "kind": "image",
        "mode": made.mode,
        "size": made.size,
        "palette": list(palette.palette) if palette else [],
        "palette_mode": palette.mode if palette else "",
    }
    return header, made.tobytes()


def _limit_memory(more: int) -> None:
    """Lets the process have so many bytes more than it has now, write no file, and leave no core."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _limit_time(seconds: float) -> None:
    """Lets the process work so long from now on; beyond it the system ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, most))


if __name__ == "__main__":
    main()
