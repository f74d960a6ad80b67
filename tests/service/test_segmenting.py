"""Class maps over gRPC and HTTP, by a segmenter that tells bright pixels from dark ones."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from polylens.errors import InvalidInput
from polylens.service.capabilities import Capabilities
from polylens.service.errors import BatchError, RemoteError
from polylens.service.settings import Settings

from .halves import Halves


def encoded(pixels_HW: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HW).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def quarter() -> bytes:
    pixels_HW = np.zeros((8, 12), np.uint8)
    pixels_HW[:4, :6] = 255
    return encoded(pixels_HW)


def values(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as found:
        assert found.mode == "P" and found.format == "PNG"
        assert found.getpalette()[:6] == [0, 0, 64, 255, 200, 0]
        return np.asarray(found)


async def test_maps_palette_and_shares_by_both_ways(
    serve: Any, tmp_path: Path, quarter: bytes, ask: Any, data_uri: Any
) -> None:
    able = Capabilities(segmenters=[Halves()])
    async with serve(tmp_path / "data", capabilities=able, http_port=0) as service:
        (found,) = await service.client.segment([quarter])
        info = await service.client.info()
        told = await ask(service.server.web.address, "/v1/segment", {"images": [data_uri(quarter)]})
        models = await ask(service.server.web.address, "/v1/models")
    classes_HW = values(found.class_map)
    assert classes_HW.shape == (8, 12) == (found.height, found.width)
    assert classes_HW[:4, :6].all() and not classes_HW[4:].any() and not classes_HW[:, 6:].any()
    assert [(one.index, one.name, one.share) for one in found.shares] == [
        (0, "dark", 0.75),
        (1, "light", 0.25),
    ]
    assert [one.colour for one in found.shares] == [0x000040, 0xFFC800]
    assert info.capabilities == ("segment",)
    assert models.json["data"][0]["capabilities"] == ["segment"]
    (one,) = told.json["segmentations"]
    uri = one["class_map"]
    assert base64.b64decode(uri.removeprefix("data:image/png;base64,")) == found.class_map
    assert one["shares"][1] == {"index": 1, "name": "light", "share": 0.25, "colour": "#ffc800"}
    assert told.json["fingerprint"] == "5" * 64


async def test_a_bad_image_leaves_its_neighbours_alone(serve: Any, tmp_path: Path, quarter: bytes) -> None:
    able = Capabilities(segmenters=[Halves()])
    poison = encoded(np.zeros((1, 1), np.uint8))
    async with serve(tmp_path / "data", capabilities=able) as service:
        with pytest.raises(BatchError) as raised:
            await service.client.segment([quarter, b"no picture", poison, quarter, quarter, quarter])
    assert [fault.index for fault in raised.value.faults] == [1, 2]
    assert "secret" not in str([fault.message for fault in raised.value.faults])
    results = raised.value.result
    assert [one is None for one in results] == [False, True, True, False, False, False]
    assert (values(results[0].class_map) == values(results[5].class_map)).all()


@pytest.mark.parametrize("decoders", [0, 2])
async def test_pictures_are_upright_and_on_white(serve: Any, tmp_path: Path, decoders: int) -> None:
    picture, buffer = Image.new("RGBA", (6, 4), (0, 0, 0, 0)), io.BytesIO()
    exif = picture.getexif()
    exif[274] = 6  # lies on its side
    picture.save(buffer, "PNG", exif=exif)
    async with serve(
        tmp_path / "data", capabilities=Capabilities(segmenters=[Halves()]), decoders=decoders
    ) as service:
        (found,) = await service.client.segment([buffer.getvalue()])
    assert values(found.class_map).shape == (6, 4)
    assert values(found.class_map).all()


async def test_a_server_without_a_model_says_so(
    serve: Any, tmp_path: Path, quarter: bytes, ask: Any, data_uri: Any
) -> None:
    async with serve(tmp_path / "data", http_port=0) as service:
        with pytest.raises(RemoteError, match="no segmentation model; polylens serve --segment gives it one"):
            await service.client.segment([quarter])
        told = await ask(service.server.web.address, "/v1/segment", {"images": [data_uri(quarter)]})
        models = await ask(service.server.web.address, "/v1/models")
    assert told.status == 501
    assert models.json["data"][0]["capabilities"] == []


async def test_wrong_bodies(serve: Any, tmp_path: Path, ask: Any, data_uri: Any) -> None:
    able = Capabilities(segmenters=[Halves()])
    async with serve(tmp_path / "data", capabilities=able, http_port=0) as service:
        web = service.server.web.address
        for body, word in (
            ({"images": ["http://elsewhere/x.png"]}, "not fetched"),
            ({"images": [data_uri(b"no picture")]}, "image"),
            ({"image": "x"}, "unknown"),
        ):
            told = await ask(web, "/v1/segment", body)
            assert told.status == 400 and word in told.error["message"], body


def test_config_and_checkpoint_come_together() -> None:
    with pytest.raises(InvalidInput, match="segment_checkpoint are needed together"):
        Settings(segment="tiny/upernet_full")
