"""Videos as points of a collection: the client reads their frames, the server embeds those as pictures."""

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ..clip.evaluation.zero_shot import class_vectors
from ..clip.videos import SUFFIXES, read_frames
from ..errors import PolylensError
from .client import Client
from .errors import BatchError
from .pictures import find_files
from .records import Vector


def find_videos(paths: Iterable[Path]) -> dict[str, Path]:
    """Each video by its id, as `find_pictures` does."""
    return find_files(paths, SUFFIXES, "videos")


def video_vector(client: Client, video: Path, frames: int) -> Vector:
    """(D,) float32 of length 1: the mean direction of the unit vectors of its evenly spaced frames."""
    frames_FD = client.embed_images([_png(frame) for frame in read_frames(video, frames)])
    return np.asarray(class_vectors(frames_FD[None])[0], np.float32)


def upsert_videos(
    client: Client,
    videos: Mapping[str, Path],
    *,
    collection: str,
    frames: int = 8,
    progress: Callable[[int], None] = lambda count: None,
) -> dict[str, PolylensError]:
    """The errors of the videos that could not be stored, by id; the others are stored, with their `path`."""
    errors: dict[str, PolylensError] = {}
    for id, file in videos.items():
        try:
            vector_D = video_vector(client, file, frames)
        except BatchError as error:
            errors[id] = PolylensError(error.faults[0].message)
        except PolylensError as error:
            errors[id] = error
        else:
            metadata = {"path": str(file.resolve()), "frames": frames}
            client.upsert([id], collection=collection, vectors=vector_D[None], metadata=[metadata])
        progress(1)
    return errors


def _png(frame: Image.Image) -> bytes:
    buffer = io.BytesIO()
    frame.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
