"""Frames of small videos made here, in several containers and codecs, and their vectors."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import polylens
import pytest
from PIL import Image
from polylens.clip import videos
from polylens.clip.encoder import Encoder
from polylens.clip.errors import InvalidVideo
from polylens.clip.videos import read_frames, spaced
from polylens.errors import InvalidInput, MissingExtra

SIZE = 64


def grey(number: int, total: int) -> int:
    """The brightness by which a frame tells its number."""
    return 20 + number * 200 // max(total - 1, 1)


def make(total: int, codec: str = "libx264", container: str = "mp4", **options: str) -> bytes:
    """A video of `total` grey frames, each a little brighter."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=container) as output:
        video = output.add_stream(codec, rate=Fraction(10), options=options)
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        for number in range(total):
            pixels = np.full((SIZE, SIZE, 3), grey(number, total), np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(video.encode())
    return stream.getvalue()


def numbers(frames: list[Image.Image], total: int) -> list[int]:
    """Which frames these are, by their brightness."""
    brightness = [float(np.asarray(frame).mean()) for frame in frames]
    every = np.array([grey(number, total) for number in range(total)])
    return [int(np.abs(every - one).argmin()) for one in brightness]


def test_frames_are_the_middles_of_equal_parts() -> None:
    assert spaced(100, 1) == [50] and spaced(8, 8) == list(range(8))
    assert spaced(80, 8) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert spaced(1, 4) == [0, 0, 0, 0] and spaced(2, 4) == [0, 0, 1, 1]
    for total in range(1, 50):
        for count in range(1, 20):
            assert all(0 <= one < total for one in spaced(total, count))


@pytest.mark.parametrize(
    ("codec", "container", "options"),
    [
        ("libx264", "mp4", {"g": "7", "bf": "3", "crf": "1"}),  # B-frames: order of decoding is another
        ("libx264", "matroska", {"g": "1000", "crf": "1"}),  # one key frame only
        ("libvpx-vp9", "webm", {"g": "10", "crf": "4", "b": "0"}),
        ("mpeg4", "avi", {"g": "12", "qscale": "2"}),
    ],
)
def test_every_container_gives_the_wanted_frames(codec: str, container: str, options: dict[str, str]) -> None:
    video = make(45, codec, container, **options)
    for count in (1, 3, 8, 45):
        frames = read_frames(video, count)
        assert {frame.size for frame in frames} == {(SIZE, SIZE)} and frames[0].mode == "RGB"
        got, wanted = np.array(numbers(frames, 45)), np.array(spaced(45, count))
        assert np.abs(got - wanted).max() <= 1  # brightness is lossy: 4.5 grey levels lie between frames


def test_only_what_is_needed_is_decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(make(300, g="10", bf="0"))
    decoded = 0
    original = videos._decoded

    class Counting:
        def __init__(self, container: Any) -> None:
            self.container = container
            self.seek = container.seek

        def decode(self, stream: Any) -> Any:
            nonlocal decoded
            for frame in self.container.decode(stream):
                decoded += 1
                yield frame

    monkeypatch.setattr(videos, "_decoded", lambda container, *rest: original(Counting(container), *rest))
    read_frames(path, 4)
    assert decoded <= 4 * 11


def test_what_is_no_video_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(30)
    picture = io.BytesIO()
    Image.new("RGB", (20, 20)).save(picture, "PNG")
    playlist = b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/secret.ts\n"
    stream = make(30, "mpeg2video", "mpegts")
    for content in (b"", b"no video at all" * 50, whole[:300], picture.getvalue(), playlist, stream):
        with pytest.raises(InvalidVideo, match="the video"):
            read_frames(content, 2)
    with pytest.raises(InvalidVideo, match=r"nowhere\.mp4 is not a file"):
        read_frames(tmp_path / "nowhere.mp4", 2)
    with pytest.raises(InvalidInput, match="frames is 0, expected 1 to"):
        read_frames(whole, 0)
    monkeypatch.setattr(videos, "MAX_PIXELS", 64 * 63)
    with pytest.raises(InvalidVideo, match="64 x 64 pixels"):
        read_frames(whole, 1)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtra, match=r"polylens\[video\]"):
        read_frames(b"", 1)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return polylens.load("mini", device="cpu")


def test_a_videos_vector_is_the_mean_of_its_frames(encoder: Encoder, tmp_path: Path) -> None:
    clips: list[Any] = [make(20), make(3), tmp_path / "a.mkv"]
    clips[2].write_bytes(make(50, container="matroska"))
    for count in (1, 4):
        got = encoder.encode_videos(iter(clips), frames=count)
        assert got.shape == (3, encoder.dim) and got.dtype == np.float32
        for row, clip in zip(got, clips, strict=True):
            mean = encoder.encode_images(read_frames(clip, count)).astype(np.float64).mean(0)
            assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
    assert encoder.encode_videos([]).shape == (0, encoder.dim)


def test_a_bad_video_is_named_by_its_position(encoder: Encoder) -> None:
    with pytest.raises(InvalidVideo, match="video 1: the video cannot be read"):
        encoder.encode_videos([make(5), b"nothing"])
    with pytest.raises(InvalidInput, match="expected a list of videos"):
        encoder.encode_videos("video.mp4")
