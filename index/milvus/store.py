"""The collections under one name in a Milvus, with the interface of a folder of collections.

A small collection beside them, the registry, has a row for each of them and for each alias. It is the last
thing written when a collection is made and the first thing removed when it is dropped.
"""

import json
from collections.abc import Sequence
from typing import Any

from ...errors import PolylensError
from ..errors import (
    CollectionAliased,
    CollectionExists,
    CollectionNotFound,
    CorruptCollection,
)
from ..interface import AnyStore
from ..policy import AUTO
from ..schema import Identity
from ..store import checked_name
from . import layout
from .address import Address, parse
from .collection import MilvusCollection
from .connection import Connection

COLLECTION, ALIAS = "collection", "alias"


class MilvusStore(AnyStore[MilvusCollection]):
    """See `AnyStore`."""

    def __init__(self, place: str | Address) -> None:
        """`place` is a URL, see address.py."""
        super().__init__()
        self.address = place if isinstance(place, Address) else parse(place)
        self._connection = Connection(self.address)
        self._registry = layout.registry(self.address.namespace)
        try:
            if not self._connection.call("has_collection", self._registry):
                layout.create_registry(self._connection, self._registry)
            self._connection.call("load_collection", self._registry)
        except BaseException:
            self._connection.close()
            raise

    def create(
        self,
        name: str,
        *,
        dim: int,
        fingerprint: str,
        metric: str = "cosine",
        dtype: str = "float32",
        index: str = AUTO,
        exist_ok: bool = False,
    ) -> MilvusCollection:
        """A new, empty collection; with `exist_ok` also an existing one for the same vectors."""
        checked_name(name)
        wanted = layout.checked(Identity.of(dim, fingerprint, metric, dtype))
        kind = layout.kind(index, self.address.lite)
        with self._lock:
            found = self._rows(name)
            if found and not exist_ok:
                alias = found.get(ALIAS)
                what = f"an alias of {alias['target']!r}" if alias else "a collection"
                raise CollectionExists(f"there is {what} {name!r} already")
            if found:
                collection = self.open(name)
                collection.require(fingerprint, dim, metric, dtype)
                return collection
            table = layout.table(self.address.namespace, name)
            if self._connection.call("has_collection", table):  # its creation never came to its end
                self._connection.call("drop_collection", table)
            layout.create(self._connection, table, dim, kind)
            self._put(COLLECTION, name, {**wanted.as_json(), "index": index})
            self._errors.pop(name, None)
            self._open[name] = self._made(name, wanted, kind)
            return self._open[name]

    def drop(self, name: str) -> None:
        """Deletes the collection and all that is in it, for good, even one that cannot be opened.

        Refused while an alias points to it.
        """
        checked_name(name)
        with self._lock:
            found = self._rows(name)
            if ALIAS in found:
                target = found[ALIAS]["target"]
                raise CollectionAliased(f"{name!r} is an alias of {target!r}, expected a collection")
            if not found:
                raise CollectionNotFound(f"there is no collection {name!r}")
            if pointing := sorted(alias for alias, target in self.aliases().items() if target == name):
                raise CollectionAliased(f"collection {name!r} has aliases: {', '.join(pointing)}")
            collection = self._open.pop(name, None)
            if collection is not None:
                collection.close()
            self._remove(COLLECTION, name)  # from here on it is gone, whatever happens
            self._errors.pop(name, None)
            self._connection.call("drop_collection", layout.table(self.address.namespace, name))

    def alias(self, name: str, target: str) -> None:
        """Makes `name` a second name of the collection `target`, in one step if it was one of another."""
        checked_name(name)
        checked_name(target)
        with self._lock:
            if COLLECTION in self._rows(name):
                raise CollectionExists(f"there is a collection {name!r} already, expected a new name")
            found = self._rows(target)
            if ALIAS in found:
                raise CollectionAliased(f"{target!r} is an alias itself, expected a collection")
            if not found:
                raise CollectionNotFound(f"there is no collection {target!r}")
            self._put(ALIAS, name, {"target": target})

    def unalias(self, name: str) -> None:
        """Removes the alias; its collection stays."""
        checked_name(name)
        with self._lock:
            if ALIAS not in self._rows(name):
                raise CollectionNotFound(f"there is no alias {name!r}")
            self._remove(ALIAS, name)

    def aliases(self) -> dict[str, str]:
        """The collection of each alias."""
        return {name: content["target"] for name, content in self._all(ALIAS).items()}

    def close(self) -> None:
        """Closes every collection, and the connection."""
        super().close()
        self._connection.close()

    def _names(self) -> Sequence[str]:
        return sorted(self._all(COLLECTION))

    def _opened(self, name: str) -> MilvusCollection:
        content = self._rows(name).get(COLLECTION)
        if content is None:
            raise CollectionNotFound(f"there is no collection {name!r}")
        identity, kind = _read(name, content, self.address.lite)
        table = layout.table(self.address.namespace, name)
        if not self._connection.call("has_collection", table):
            raise CorruptCollection(f"collection {name!r} is listed, but Milvus does not have {table}")
        self._connection.call("load_collection", table)
        return self._made(name, identity, kind)

    def _made(self, name: str, identity: Identity, kind: layout.Kind) -> MilvusCollection:
        table = layout.table(self.address.namespace, name)
        return MilvusCollection(self._connection, table, name, identity, kind)

    def _resolved(self, name: str) -> str:
        """The name of the collection, which an alias may have been given for."""
        checked_name(name)
        if name in self._open or name in self._errors:
            return name
        alias = self._rows(name).get(ALIAS)
        if alias is None:
            return name
        target: str = alias["target"]
        if COLLECTION not in self._rows(target):
            raise CollectionNotFound(f"alias {name!r} points to collection {target!r}, which is not there")
        return target

    def _rows(self, name: str) -> dict[str, dict[str, Any]]:
        """What the registry has about a name, by kind."""
        keys = {layout.key(f"{kind}/{name}"): kind for kind in (COLLECTION, ALIAS)}
        listed = ", ".join(f'"{one}"' for one in keys)
        found = self._connection.query(self._registry, f"key in [{listed}]", ["key", "content"])
        return {keys[row["key"]]: _content(row) for row in found}

    def _all(self, kind: str) -> dict[str, dict[str, Any]]:
        """What the registry has of one kind, by name."""
        prefix = layout.key(f"{kind}/")
        found = self._connection.query(self._registry, f'key like "{prefix}%"', ["key", "content"])
        return {layout.id_of(row["key"]).partition("/")[2]: _content(row) for row in found}

    def _put(self, kind: str, name: str, content: dict[str, Any]) -> None:
        row = {"key": layout.key(f"{kind}/{name}"), "content": json.dumps(content), "vector": [0.0, 0.0]}
        self._connection.call("upsert", self._registry, [row])

    def _remove(self, kind: str, name: str) -> None:
        self._connection.call("delete", self._registry, ids=[layout.key(f"{kind}/{name}")])


def _content(row: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(row["content"]))
    except (ValueError, TypeError) as error:
        raise CorruptCollection(f"the registry's entry {row['key']!r:.80} is damaged: {error}") from error


def _read(name: str, content: dict[str, Any], lite: bool) -> tuple[Identity, layout.Kind]:
    """Identity and index of a collection as the registry has them."""
    try:
        fields = {field: content[field] for field in ("dim", "fingerprint", "metric", "dtype")}
        return Identity.of(**fields), layout.kind(content["index"], lite)
    except (KeyError, TypeError, PolylensError) as error:
        raise CorruptCollection(f"the registry's entry of {name!r} is damaged: {error}") from error
