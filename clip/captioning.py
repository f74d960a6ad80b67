"""Captions of many images with an InternVL-G in this process."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import InvalidInput
from .batches import Pixels, ahead, grouped
from .encoder import BATCHES_AHEAD, Encoder
from .images import ImageSource
from .reader import PROMPT, Reader, reader_of


@dataclass(frozen=True)
class Wording:
    """What the sentences go on from, and how they are searched for: the setup of the published figures."""

    prompt: str = PROMPT
    beams: int = 5
    least: int = 8
    most: int = 30


def need_reader(encoder: Encoder) -> Reader:
    """The encoder's reader, or `InvalidInput`: only InternVL-G writes sentences."""
    reader = reader_of(encoder)
    if reader is None:
        raise InvalidInput(
            f"{encoder.name} writes no sentences: load an InternVL-G, such as "
            "OpenGVLab/InternVL-14B-224px with head G"
        )
    return reader


def caption_images(
    encoder: Encoder, images: Iterable[ImageSource], wording: Wording | None = None
) -> Iterator[str | InvalidInput]:
    """A sentence for each image in order, or the error of one that cannot be read.

    Images are decoded in the encoder's threads while sentences are written, a batch at a time.
    """
    wording = wording or Wording()
    reader = need_reader(encoder)
    prompt = reader.check_prompt(wording.prompt)

    def prepared(image: ImageSource) -> Pixels | InvalidInput:
        try:
            return encoder.prepare_image(image)
        except InvalidInput as error:
            return error

    most = BATCHES_AHEAD * encoder.batch_size
    for group in grouped(ahead(prepared, images, workers=encoder.workers, most=most), encoder.batch_size):
        pixels = [one for one in group if not isinstance(one, InvalidInput)]
        said: list[str] = []
        if pixels:
            prompts = [prompt] * len(pixels)
            said = reader.caption(
                pixels,
                prompts,
                beams=wording.beams,
                least=wording.least,
                most=wording.most,
            )
        sentences = iter(said)
        for one in group:
            yield one if isinstance(one, InvalidInput) else next(sentences)
