"""What a server may be able to do beyond what every encoder can.

This is the seam for what other folders make: `commands/serve.py` may hand it to `run` (as `able`), the engine
asks it, and nobody here imports those folders. A new capability is a Protocol, a field and a name; its
batches run on the encoders' devices through `Embedder.join`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from ..clip.recipe import Preprocess
from .errors import NotOffered
from .records import Vector


class Reader(Protocol):
    """Reads images and texts together; `polylens.clip.reader.Reader` is one."""

    def prepare_text(self, text: str, /) -> tuple[Any, bool]: ...
    def check_prompt(self, prompt: str, /) -> str: ...
    def caption(
        self, pixels: Any, prompts: Sequence[str], /, *, beams: int, least: int, most: int
    ) -> list[str]: ...
    def match(self, pixels: Any, texts: Sequence[Sequence[Any]], /) -> Sequence[Vector]: ...


class Segmenter(Protocol):
    """Gives each pixel a class; `polylens.segmentation.segmenter.Segmenter` is one."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def palette(self) -> Sequence[Sequence[int]]: ...
    def prepare(self, picture: Image.Image, /) -> Any: ...
    def segment(self, prepared: Any, /) -> tuple[Image.Image, dict[str, float]]: ...


class Labeller(Protocol):
    """Knows the classes it was trained on; `polylens.backbone.probe.Classifier` is one."""

    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def preprocess(self) -> Preprocess: ...
    def prepare_image(self, image: bytes, /) -> Any: ...
    def logits_of(self, pixels: Sequence[Any], /) -> Vector: ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`readers` has one for each encoder of the server, in their order, or none; so has `segmenters`, and so
    has each of the `labellers`, which have names."""

    readers: Sequence[Reader] = ()
    segmenters: Sequence[Segmenter] = ()
    labellers: Mapping[str, Sequence[Labeller]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """What callers may ask for, as `GetInfo` tells them."""
        able = (("caption", "match") if self.readers else ()) + (("segment",) if self.segmenters else ())
        return (*able, *(f"probe:{name}" for name in self.labellers))

    def require_reader(self) -> Reader:
        """A reader, or `NotOffered`."""
        if not self.readers:
            raise NotOffered("the server's model does not read images and texts together; InternVL-G does")
        return self.readers[0]

    def require_segmenter(self) -> Segmenter:
        """A segmenter, or `NotOffered`."""
        if not self.segmenters:
            raise NotOffered("the server has no segmentation model; polylens serve --segment gives it one")
        return self.segmenters[0]


NONE = Capabilities()
