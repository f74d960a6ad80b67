"""Errors of segmentation's own."""

from ..errors import InvalidInput


class BadRun(InvalidInput):
    """A config, a data set or a checkpoint that cannot work; the message lists every fault found."""
