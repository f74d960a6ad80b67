"""Errors of the encoder.

    InvalidInput
    ├── InvalidImage      unreadable, of a kind not accepted, or too large
    └── InvalidVideo      the same of a video
    PolylensError
    ├── UnusableVector    the model gave an item NaN, infinity or a vector without a direction
    ├── PictureTooLarge   a picture needs more memory than its decoder may have
    └── DecodingStopped   the decoding processes were ended

They know no transport: the service maps classes to status codes.
"""

from ..backbone.errors import InvalidImage
from ..errors import InvalidInput, PolylensError

__all__ = ["DecodingStopped", "InvalidImage", "InvalidVideo", "PictureTooLarge", "UnusableVector"]


class InvalidVideo(InvalidInput):
    """The video is unreadable, of a kind not accepted, or too large."""


class UnusableVector(PolylensError):
    """The model's output for an item has no direction, so it can be neither stored nor compared."""


class PictureTooLarge(PolylensError):
    """A picture needs more memory than its decoding process may have."""


class DecodingStopped(PolylensError):
    """The decoding processes were ended while someone wanted a picture."""
