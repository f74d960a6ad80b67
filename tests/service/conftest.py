"""Fixtures: models that need no weights, pictures, a server on a free port and a client of HTTP that knows
nothing of ours. D = 16."""

import asyncio
import base64
import hashlib
import http.client
import inspect
import io
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from PIL import Image
from polylens.clip.images import open_image
from polylens.index import open_store
from polylens.service.capabilities import NONE, Capabilities
from polylens.service.client import AsyncClient
from polylens.service.engine import Engine
from polylens.service.originals import Files
from polylens.service.server import Server, serving
from polylens.service.settings import Settings

DIM = 16
CHECKPOINT = Path(__file__).parents[1] / "golden" / "internvl_tiny" / "checkpoint"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a test that is a coroutine in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), 60))
    return True


def unit(seed: bytes) -> np.ndarray:
    digest = int.from_bytes(hashlib.sha256(seed).digest()[:8], "little")
    vector = np.random.default_rng(digest).standard_normal(DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def make_picture(colour: tuple[int, int, int] = (200, 30, 30), size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


class FakeEncoder:
    """Equal inputs give equal unit vectors, others unlike ones. The text "poison" fails in the forward pass.

    `before` runs at the beginning of each forward pass, in the device's thread.
    """

    name, dim, logit_scale, max_text_tokens = "fake", DIM, 100.0, 8

    def __init__(self, fingerprint: str = "f" * 64) -> None:
        self.fingerprint = fingerprint
        self.batches: list[int] = []
        self.seen: list[Any] = []
        self.threads: set[str] = set()
        self.before: Callable[[], None] = lambda: None

    def prepare_text(self, text: str) -> list[str]:
        return text.split()[: self.max_text_tokens]

    def text_truncated(self, text: str) -> bool:
        return len(text.split()) > self.max_text_tokens

    def prepare_image(self, image: Any) -> np.ndarray:
        return np.asarray(open_image(image).convert("RGB").resize((1, 1)), np.uint8)

    def embed_ids(self, ids: Sequence[list[str]]) -> np.ndarray:
        self._pass(ids)
        if ["poison"] in ids:
            raise RuntimeError("a secret of the server at /secret/path")
        return np.stack([self.text_vector(" ".join(tokens)) for tokens in ids])

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        self._pass(pixels)
        return np.stack([unit(b"image" + one.tobytes()) for one in pixels])

    def text_vector(self, text: str) -> np.ndarray:
        return unit(text.encode())

    def _pass(self, entries: Sequence[Any]) -> None:
        self.threads.add(threading.current_thread().name)
        self.before()
        self.batches.append(len(entries))
        self.seen += entries


class Service:
    """A running server of the fake model, and a client of it."""

    def __init__(self, encoder: Any, engine: Engine, server: Server, client: AsyncClient) -> None:
        self.encoder, self.engine, self.server, self.client = encoder, engine, server, client
        self.address = server.address


@asynccontextmanager
async def _serve(
    data: Path | str,
    encoder: Any = None,
    pictures_of: Files | None = None,
    capabilities: Capabilities = NONE,
    **settings: Any,
) -> AsyncIterator[Service]:
    encoder = encoder or FakeEncoder()
    chosen = Settings(**{"data": str(data), "port": 0, "drain_seconds": 0, "grace_seconds": 1} | settings)
    engine = Engine(encoder, open_store(data), chosen, capabilities=capabilities)
    async with serving(engine, None, pictures_of) as server, AsyncClient(server.address) as client:
        yield Service(encoder, engine, server, client)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as of the hub: an untrained checkpoint of 512 tokens, and a tokenizer that has no more."""
    folder = tmp_path_factory.mktemp("model")
    for file in CHECKPOINT.iterdir():
        shutil.copy(file, folder)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["summarize:a red apple", "kikombe cha chai", "两只猫"] * 20),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=300,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def new_encoder() -> type[FakeEncoder]:
    return FakeEncoder


@pytest.fixture
def picture() -> Callable[..., bytes]:
    return make_picture


@pytest.fixture
def serve() -> Callable[..., Any]:
    """`async with serve(folder, **settings) as service:` runs a server on a free port."""
    return _serve


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Any]:
    """A server in a thread of its own, so that the test may block."""
    started, stop = threading.Event(), None
    found: list[Any] = []

    async def run() -> None:
        nonlocal stop
        stop = asyncio.Event()
        async with _serve(tmp_path / "data") as service:
            found.extend([service, asyncio.get_running_loop()])
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(30)
    yield found[0]
    found[1].call_soon_threadsafe(stop.set)
    thread.join(30)


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
