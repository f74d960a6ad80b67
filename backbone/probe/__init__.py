"""Linear probes: small classifiers trained on the features of a frozen InternViT."""

from .config import ProbeConfig
from .heads import HEADS, Head
from .probe import Classifier, Probe

__all__ = ["HEADS", "Classifier", "Head", "Probe", "ProbeConfig"]
