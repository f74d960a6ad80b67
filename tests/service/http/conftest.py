"""A client of HTTP that knows nothing of ours, and pictures as data URIs."""

import asyncio
import base64
import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


def _ask(address: str, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, headers)
        got = connection.getresponse()
        return Reply(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
    finally:
        connection.close()


async def _ask_json(address: str, path: str, content: Any = None, **headers: str) -> Reply:
    """GET, or POST of the content as JSON; headers are written with _ for -."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if content is None:
        return await asyncio.to_thread(_ask, address, "GET", path, None, given)
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    given = {"content-type": "application/json"} | given
    return await asyncio.to_thread(_ask, address, "POST", path, body, given)


@pytest.fixture
def ask() -> Callable[..., Any]:
    """`await ask(address, path, content, **headers)`."""
    return _ask_json


@pytest.fixture
def ask_raw() -> Callable[..., Reply]:
    return _ask


@pytest.fixture
def data_uri() -> Callable[[bytes], str]:
    return lambda data: "data:image/png;base64," + base64.b64encode(data).decode()
