"""Which picture the transform of another library starts from; needs no torch."""

from PIL import Image

from ..backbone.pixels import on_white, to_rgb, upright


def seen(image: Image.Image, preprocess: str) -> Image.Image:
    """The picture that the library's own transform starts from.

    "service" turns it upright and puts transparency on white, as everywhere in the service. The modes
    "retrieval" and "classification" are both the library's transform alone, of the picture in RGB as the
    loaders of data sets give it: as stored, transparency dropped.
    """
    return on_white(upright(image)) if preprocess == "service" else to_rgb(image)


def seen_spec(preprocess: str) -> str:
    """That choice in words, for a fingerprint."""
    return "upright, on white" if preprocess == "service" else "as stored, transparency dropped"
