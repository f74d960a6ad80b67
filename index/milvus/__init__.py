"""Collections in Milvus, a vector database on many machines, with the interface of those on this disk."""

from .collection import MilvusCollection
from .store import MilvusStore

__all__ = ["MilvusCollection", "MilvusStore"]
