"""The fingerprint of an encoder, by the name that `clip` gives it."""

from ..backbone.fingerprint import fingerprint

__all__ = ["fingerprint"]
