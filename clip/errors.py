"""Errors of the encoder.

    InvalidInput
    └── InvalidImage      unreadable, of a kind not accepted, or too large
    PolylensError
    └── UnusableVector    the model gave an item NaN, infinity or a vector without a direction

They know no transport: the service maps classes to status codes.
"""

from ..backbone.errors import InvalidImage
from ..errors import PolylensError

__all__ = ["InvalidImage", "UnusableVector"]


class UnusableVector(PolylensError):
    """The model's output for an item has no direction, so it can be neither stored nor compared."""
