"""Forward passes on replicas of Ray Serve give what the model gives here, also after a replica died."""

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import ray
from polylens.clip.load import load
from polylens.index import Store
from polylens.service import AsyncClient
from polylens.service.engine import Engine
from polylens.service.replicas import deployed
from polylens.service.server import serving
from polylens.service.settings import Settings

# Ray warns of its own ways, and leaves sockets to the end of the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
MODEL = "mini"
TEXTS = ["a cat", "two dogs on a beach", "一只猫", "a much longer text than the others of this batch"]


def replicas() -> list[int]:
    """The processes of the replicas that this process started: Ray gives them this title."""
    found, mine = [], {os.getpid()}
    for _ in range(4):  # we, the raylet, its workers
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                parent = int(status.read_text().split("PPid:")[1].split()[0])
                title = (status.parent / "cmdline").read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if parent in mine:
                mine.add(int(status.parent.name))
                if title.startswith(b"ray::ServeReplica") and int(status.parent.name) not in found:
                    found.append(int(status.parent.name))
    assert found
    return found


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_server_with_replicas_answers_as_one_without(tmp_path, picture, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = Settings(
        model=MODEL, engine="ray", replicas=2, replica_cpus=0.5, port=0, decoders=0, warm_up=False,
        drain_seconds=0, grace_seconds=1,
    )  # fmt: skip
    local = load(MODEL, device="cpu")
    pictures = [picture(colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    with deployed(settings) as encoders:
        assert len(encoders) == 2 and encoders[0].fingerprint == local.fingerprint
        ids, pixels = [local.prepare_text(t) for t in TEXTS], [local.prepare_image(p) for p in pictures]
        for encoder in encoders:
            assert np.allclose(encoder.embed_ids(ids), local.embed_ids(ids), atol=1e-6)
            assert np.allclose(encoder.embed_pixels(pixels), local.embed_pixels(pixels), atol=1e-6)

        async def story() -> None:
            engine = Engine(encoders[0], Store(tmp_path), settings, replicas=encoders[1:])
            async with serving(engine) as server, AsyncClient(server.address, timeout=120) as client:
                await client.create_collection("c")
                await client.upsert(list("abc"), collection="c", images=pictures)
                found = await client.search(collection="c", image=pictures[1], k=3)
                assert found[0].id == "b" and found[0].score == pytest.approx(1, abs=1e-5)
                os.kill(replicas()[0], signal.SIGKILL)
                texts = [f"text number {n}" for n in range(40)]
                vectors = await client.embed_texts(texts)
                assert np.allclose(vectors, local.encode_texts(texts), atol=1e-5)

        asyncio.run(story())
    assert not ray.is_initialized()
