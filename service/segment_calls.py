"""What the clients ask of a server that has a segmentation model; see calls.py."""

from collections.abc import Sequence

from ..proto.polylens.v1 import segment_pb2
from .calls import Call
from .chunks import Book, Picture
from .records import Segmentation
from .segment_converters import segmentations_from_proto

CHUNK = 4  # images in one request: their maps come back together


def segment(images: Sequence[Picture]) -> Call[list[Segmentation | None]]:
    """A map of the classes of each image as a PNG, and the share of each class.

    Raises `BatchError` if some image could not be segmented. The server must have a segmentation model.
    """
    book = Book(len(images))
    requests = (
        segment_pb2.SegmentRequest(images=chunk) for chunk in book.chunks(book.pictures(images), most=CHUNK)
    )
    return Call(
        "Segment",
        requests,
        lambda replies: book.results(replies, lambda r: segmentations_from_proto(r.segmentations)),
    )
