"""Messages between a program and its decoding processes: two lengths, a header, a body."""

import socket
import struct
import time

LENGTHS = struct.Struct(">II")
MAX_HEADER = 64 << 10


def send(channel: socket.socket, header: bytes, body: bytes | memoryview, end: float = float("inf")) -> None:
    """Returns when all is sent; TimeoutError if that is not before `end`, by `time.monotonic`."""
    _patience(channel, end)
    channel.sendall(LENGTHS.pack(len(header), len(body)) + header)
    _patience(channel, end)
    channel.sendall(body)


def receive(channel: socket.socket, most: int, end: float = float("inf")) -> tuple[bytearray, bytearray]:
    """Header and body of the next message; EOFError at the end, ValueError if it is over `most` bytes."""
    header, body = LENGTHS.unpack(_exactly(channel, LENGTHS.size, end))
    if header > MAX_HEADER or body > most:
        raise ValueError(f"a message of {header} and {body} bytes")
    return _exactly(channel, header, end), _exactly(channel, body, end)


def _exactly(channel: socket.socket, count: int, end: float) -> bytearray:
    data = bytearray(count)
    rest = memoryview(data)
    while rest:
        _patience(channel, end)
        got = channel.recv_into(rest)
        if not got:
            raise EOFError("the other side hung up")
        rest = rest[got:]
    return data


def _patience(channel: socket.socket, end: float) -> None:
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the other side is too slow")
    channel.settimeout(None if seconds == float("inf") else seconds)
