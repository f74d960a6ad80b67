"""Images from anyone, for the folders that import `clip` and not `backbone`."""

from ..backbone.images import FORMATS, MAX_BYTES, MAX_PIXELS, MAX_RATIO, SUFFIXES, ImageSource, open_image

__all__ = ["FORMATS", "MAX_BYTES", "MAX_PIXELS", "MAX_RATIO", "SUFFIXES", "ImageSource", "open_image"]
