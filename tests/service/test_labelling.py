"""Trained probes served beside the encoder: over gRPC, HTTP and the command, equal to the probe alone."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from polylens.backbone.errors import BadCheckpoint
from polylens.backbone.probe import Classifier, Head, Probe
from polylens.backbone.probe.frozen import freeze
from polylens.backbone.probe.probe import describe
from polylens.cli import app
from polylens.commands.probe_opening import open_probes
from polylens.errors import InvalidInput
from polylens.service.capabilities import Capabilities
from polylens.service.errors import BatchError, RemoteError
from typer.testing import CliRunner

MODEL = Path(__file__).parents[1] / "golden" / "internvl_tiny" / "checkpoint"
NAMES = ("red", "绿", "blue")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe with random weights, large enough to tell pictures apart."""
    frozen = freeze(MODEL, "cls_patch_concat", (2,), image_size=28, device="cpu")
    head = Head("cls_patch_concat", frozen.width, len(NAMES))
    with torch.no_grad():
        head.head.weight.normal_(std=3.0, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("probe") / "colours.safetensors"
    Probe(head.eval(), describe(frozen, 2, NAMES, str(MODEL), {})).save(path)
    return path


@pytest.fixture
def capabilities(file: Path) -> Capabilities:
    return Capabilities(labellers=open_probes([str(file)], ["cpu"], "float32"))


async def test_a_served_probe_says_what_it_says_alone(
    serve: Any, capabilities: Capabilities, file: Path, picture: Callable[..., bytes], tmp_path: Path
) -> None:
    images = [picture((40 * i, 255 - 40 * i, 90), 30 + 7 * i) for i in range(6)]
    alone = list(Classifier.open(file, device="cpu").predict(images))
    assert len({ranking[0][0] for ranking in alone}) > 1
    for decoders in (0, 1):
        async with serve(tmp_path / str(decoders), capabilities=capabilities, decoders=decoders) as service:
            assert "probe:colours" in (await service.client.info()).capabilities
            got = await service.client.classify(images, probe="colours")
            for scores, ranking in zip(got, alone, strict=True):
                assert [one.label for one in scores] == [name for name, _ in ranking]
                wanted = [share for _, share in ranking]
                assert [one.probability for one in scores] == pytest.approx(wanted, abs=1e-5)
            best = await service.client.classify(images, probe="colours", top=1)
            assert [[one.label] for (one,) in best] == [[ranking[0][0]] for ranking in alone]


async def test_wrong_requests_are_refused_and_neighbours_succeed(
    serve: Any, capabilities: Capabilities, picture: Callable[..., bytes], tmp_path: Path
) -> None:
    async with serve(tmp_path, capabilities=capabilities) as service:
        client = service.client
        with pytest.raises(BatchError) as raised:
            await client.classify([picture(), b"no picture", picture((9, 9, 9))], probe="colours")
        assert [fault.index for fault in raised.value.faults] == [1]
        with pytest.raises(RemoteError, match="'shapes' is not served; this server has colours"):
            await client.classify([picture()], probe="shapes")
        with pytest.raises(RemoteError, match="give no labels and no templates"):
            await client.classify([picture()], ["cat"], probe="colours")
        with pytest.raises(RemoteError, match="at least one label is needed"):
            await client.classify([picture()])
    async with serve(tmp_path / "plain") as service:
        with pytest.raises(RemoteError, match="this server has none"):
            await service.client.classify([picture()], probe="colours")


async def test_http_and_the_command_serve_it_too(
    serve: Any,
    ask: Any,
    data_uri: Any,
    capabilities: Capabilities,
    picture: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    image = picture((200, 10, 10), 30)
    (tmp_path / "one.png").write_bytes(image)
    async with serve(tmp_path / "data", capabilities=capabilities, http_port=0) as service:
        (wanted,) = await service.client.classify([image], probe="colours")
        body = {"images": [data_uri(image)], "probe": "colours"}
        reply = await ask(service.server.web.address, "/v1/classify", body)
        assert reply.status == 200
        told = [[one["label"], one["probability"]] for one in reply.json["classifications"][0]]
        assert told == [[one.label, pytest.approx(one.probability, abs=1e-6)] for one in wanted]
        call = [
            "classify",
            str(tmp_path / "one.png"),
            "--probe",
            "colours",
            "--json",
            "--server",
            service.address,
        ]
        done = await asyncio.to_thread(CliRunner().invoke, app, call)
        assert [one["label"] for one in json.loads(done.stdout)["one.png"]] == [one.label for one in wanted]
        neither = await asyncio.to_thread(CliRunner().invoke, app, call[:2])
        assert neither.exit_code == 2 and "give labels" in neither.output


def test_probes_have_names_of_their_own(file: Path) -> None:
    found = open_probes([str(file), f"other={file}"], ["cpu", "cpu"], "float32")
    assert {name: len(ones) for name, ones in found.items()} == {"colours": 2, "other": 2}
    with pytest.raises(InvalidInput, match="two probes are called 'colours'"):
        open_probes([str(file), str(file)], ["cpu"], "float32")
    with pytest.raises(BadCheckpoint, match=r"none\.safetensors is not a readable probe"):
        open_probes([f"x={file.parent / 'none.safetensors'}"], ["cpu"], "float32")
