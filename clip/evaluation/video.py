"""Zero-shot classification of videos, and retrieval between videos and texts: images with frames to them.

A video's vector is the mean direction of its evenly spaced frames' unit vectors (Radford et al. 2021 and the
tables of InternVL: 1 or 8 frames). All else is what the image evaluations do.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...backbone.world import World
from ..encoder import Encoder, Vectors
from ..images import ImageSource
from ..videos import VideoSource
from .classification import Labelled, evaluate_classification
from .encode import ALONE
from .image_text import KS, Captioned, evaluate_retrieval


@dataclass(frozen=True)
class OfVideos:
    """An encoder whose images are paths or bytes of videos."""

    encoder: Encoder
    frames: int

    @property
    def dim(self) -> int:
        """The width of the vectors."""
        return self.encoder.dim

    @property
    def name(self) -> str:
        """The encoder's."""
        return self.encoder.name

    @property
    def fingerprint(self) -> str:
        """The encoder's: classifiers of texts are the same."""
        return self.encoder.fingerprint

    @property
    def encode_images(self) -> Callable[[Iterator[ImageSource]], Vectors]:
        """(N, D) unit rows of videos."""
        return lambda videos: self.encoder.encode_videos(_sources(videos), frames=self.frames)

    @property
    def encode_texts(self) -> Callable[[Sequence[str]], Vectors]:
        """(N, D) unit rows of texts."""
        return self.encoder.encode_texts


def evaluate_video_classification(
    encoder: Encoder,
    data: Labelled,
    *,
    frames: int = 8,
    world: World = ALONE,
    cache: Path | None = None,
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """Shares in [0, 1]: acc1, acc5, the mean of the two, and mean_per_class_recall.

    Published figures of Kinetics are either top-1 or that mean; which one is not always said.
    """
    model = OfVideos(encoder, frames)
    found = evaluate_classification(model, data, world=world, cache=cache, limit=limit, progress=progress)
    return found | {"acc1_acc5_mean": (found["acc1"] + found["acc5"]) / 2}


def evaluate_video_retrieval(
    encoder: Encoder,
    data: Captioned,
    *,
    frames: int = 8,
    ks: Sequence[int] = KS,
    world: World = ALONE,
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """Shares in [0, 1]: video_retrieval_recall@k (from text to video) and text_retrieval_recall@k."""
    model = OfVideos(encoder, frames)
    found = evaluate_retrieval(model, data, ks=ks, world=world, limit=limit, progress=progress)
    return {name.replace("image_", "video_"): value for name, value in found.items()}


def _sources(videos: Iterable[ImageSource]) -> Iterator[VideoSource]:
    for video in videos:
        if isinstance(video, str | bytes | Path):
            yield video
