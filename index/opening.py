"""The store that a folder or a URL names."""

import os
from pathlib import Path

from .interface import AnyCollection, AnyStore
from .milvus import MilvusStore
from .milvus.address import is_address
from .store import Store


def open_store(place: str | os.PathLike[str]) -> AnyStore[AnyCollection]:
    """The store in a folder, or behind a URL such as milvus://host:19530/name; see milvus/address.py."""
    if isinstance(place, str) and is_address(place):
        return MilvusStore(place)
    return Store(Path(place))
