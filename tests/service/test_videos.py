"""Videos as points: their vector is the mean of their frames', and a bad one leaves its neighbours alone."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from polylens.cli import app
from polylens.clip.videos import read_frames
from polylens.errors import InvalidInput
from polylens.service.client import Client
from polylens.service.videos import find_videos, upsert_videos
from typer.testing import CliRunner


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two videos of changing colour and a file that is none."""
    folder = tmp_path / "films"
    (folder / "old").mkdir(parents=True)
    for name, base in (("a.mp4", 20), ("old/b.mkv", 120)):
        with av.open(folder / name, "w") as output:
            stream = output.add_stream("libx264", rate=Fraction(10))
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            for i in range(12):
                pixels = np.full((32, 32, 3), base + 10 * i, np.uint8)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            output.mux(stream.encode())
    (folder / "broken.webm").write_bytes(b"no video")
    return folder


def test_videos_are_found_and_stored_by_their_mean(running: Any, films: Path) -> None:
    found = find_videos([films])
    assert sorted(found) == ["a.mp4", "broken.webm", "old/b.mkv"]
    with Client(running.address) as client:
        client.create_collection("films")
        errors = upsert_videos(client, found, collection="films", frames=3)
        assert list(errors) == ["broken.webm"] and "cannot be read as MP4" in str(errors["broken.webm"])
        points = client.get(["a.mp4", "old/b.mkv"], collection="films", vectors=True)
        for point, file in zip(points, (films / "a.mp4", films / "old/b.mkv"), strict=True):
            frames = [np.asarray(running.encoder.prepare_image(frame)) for frame in read_frames(file, 3)]
            mean = running.encoder.embed_pixels(frames).astype(np.float64).mean(0)
            assert np.allclose(point.vector_D, mean / np.linalg.norm(mean), atol=1e-5)
            assert point.metadata == {"path": str(file.resolve()), "frames": 3}


def test_the_command_stores_the_sound_ones(running: Any, films: Path) -> None:
    with Client(running.address) as client:
        client.create_collection("films")
    call = ["collection", "upsert", "films", str(films), "--frames", "2", "--server", running.address]
    result = CliRunner().invoke(app, call)
    assert "1 of 3 videos were not stored" in str(result.exception)
    (films / "broken.webm").unlink()
    assert CliRunner().invoke(app, call).stdout.strip() == "stored 2"
    with Client(running.address) as client:
        assert client.collection("films").count == 2
    (films / "old" / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"no videos found; looked for \.avi"):
        find_videos([films / "old" / "empty"])
