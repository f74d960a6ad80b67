"""Videos from anyone: a few evenly spaced frames of a file, found by time stamps, decoded and nothing else.

The whole file is walked once without decoding, to learn where its frames and key frames are; then only what
lies between a key frame and a wanted frame is decoded. Memory holds a few frames, however long the video is.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from PIL import Image

from ..errors import InvalidInput, require
from .errors import InvalidVideo
from .images import MAX_PIXELS

VideoSource: TypeAlias = str | Path | bytes

SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"}
# What FFmpeg may try at all, by its own names: never a playlist, which would open other files and addresses.
# MPEG streams (.mpg, .ts) are left out because they have no index: seeking misses.
FORMATS = "avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2"
MAX_FRAMES_ASKED = 1024


@dataclass(frozen=True)
class Timeline:
    """Time stamps, ascending, of all frames of a video and of those that need no other to be decoded."""

    frames: Sequence[int]
    keys: Sequence[int]


def read_frames(source: VideoSource, count: int) -> list[Image.Image]:
    """`count` RGB frames, evenly spaced: the middle one of each of `count` equal parts of the video.

    So one frame is the middle of the video. A video of fewer frames gives some of them more than once.
    """
    if not 1 <= count <= MAX_FRAMES_ASKED:
        raise InvalidInput(f"frames is {count}, expected 1 to {MAX_FRAMES_ASKED}")
    name = "the video" if isinstance(source, bytes) else str(source)
    av = require("av", "video")
    try:
        with _opened(source) as file, av.open(file, options={"format_whitelist": FORMATS}) as container:
            return _frames(container, name, count)
    except (av.error.FFmpegError, OSError, UnicodeError) as error:
        told = getattr(error, "strerror", None) or error
        raise InvalidVideo(f"{name} cannot be read as MP4, WebM, MKV or AVI: {told}") from error


def spaced(total: int, count: int) -> list[int]:
    """Which of `total` frames are taken: the middle one of each of `count` equal parts."""
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]


def _opened(source: VideoSource) -> BinaryIO:
    """What FFmpeg reads by callbacks: it opens no file and no address by itself."""
    if isinstance(source, bytes):
        return BytesIO(source)
    path = Path(source)
    if not path.is_file():
        raise InvalidVideo(f"{path} is not a file")
    return path.open("rb")


def _frames(container: Any, name: str, count: int) -> list[Image.Image]:
    if not container.streams.video:
        raise InvalidVideo(f"{name} holds no video")
    stream = container.streams.video[0]
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= MAX_PIXELS:
        raise InvalidVideo(f"{name} has {width} x {height} pixels, expected 1 to {MAX_PIXELS} in all")
    timeline = _timeline(container, stream)
    if not timeline.frames:
        raise InvalidVideo(f"{name} holds no frame")
    wanted = [timeline.frames[i] for i in spaced(len(timeline.frames), count)]
    found = _decoded(container, stream, timeline, sorted(set(wanted)))
    if missing := set(wanted) - found.keys():
        raise InvalidVideo(f"{name} is damaged or truncated: {len(missing)} of its frames cannot be decoded")
    return [found[stamp] for stamp in wanted]


def _timeline(container: Any, stream: Any) -> Timeline:
    """Where the frames are; nothing is decoded."""
    frames, keys = [], []
    for packet in container.demux(stream):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.size and not packet.is_discard:
            frames.append(stamp)
            if packet.is_keyframe:
                keys.append(stamp)
    return Timeline(sorted(frames), sorted(keys))


def _decoded(
    container: Any, stream: Any, timeline: Timeline, wanted: Sequence[int]
) -> dict[int, Image.Image]:
    """The RGB frames at these ascending time stamps, or the next after; none where decoding fails."""
    found: dict[int, Image.Image] = {}
    decoder: Iterator[Any] = iter(())
    frame = None  # the last one decoded
    for stamp in wanted:
        before = timeline.keys[: bisect_right(timeline.keys, stamp)]
        key = before[-1] if before else timeline.frames[0]
        if frame is None or _stamp(frame) < key:
            decoder, frame = _decoder_at(container, stream, key)
            if frame is not None and _stamp(frame) > stamp:  # a file without an index
                decoder, frame = _decoder_at(container, stream, timeline.frames[0])
        while frame is not None and _stamp(frame) < stamp:
            frame = next(decoder, None)
        if frame is None:
            break
        found[stamp] = frame.to_image().convert("RGB")
    return found


def _decoder_at(container: Any, stream: Any, stamp: int) -> tuple[Iterator[Any], Any]:
    """The frames from the key frame at or before a time stamp on, and the first of them, or None."""
    container.seek(stamp, stream=stream, backward=True)
    decoder = container.decode(stream)
    return decoder, next(decoder, None)


def _stamp(frame: Any) -> int:
    return int(frame.pts if frame.pts is not None else frame.dts or 0)
