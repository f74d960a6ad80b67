"""A folder of collections by name."""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from .aliases import Aliases
from .collection import Collection, StrPath
from .database import DATABASE
from .errors import (
    CollectionAliased,
    CollectionExists,
    CollectionNotFound,
    InvalidName,
    StorageFailed,
)
from .files import LOCK, Files
from .interface import AnyStore
from .policy import AUTO

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
TRASH = ".trash-"


def checked_name(name: str) -> str:
    """The name, if a collection can have it."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidName(
            f"collection name is {name!r:.100}, expected 1 to 64 of a-z 0-9 . _ - (first: a-z 0-9)"
        )
    return name


class Store(AnyStore[Collection]):
    """See `AnyStore`."""

    def __init__(self, root: StrPath, files: Files | None = None) -> None:
        super().__init__()
        self.root = Path(root)
        self._files = files or Files()
        self._aliases = Aliases(self.root, self._files)
        self._files.make_folder(self.root)
        for trash in self.root.glob(f"{TRASH}*"):  # a drop that did not come to its end
            self._files.remove_folder(trash)

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
    ) -> Collection:
        """A new, empty collection; with `exist_ok` also an existing one for the same vectors."""
        path = self._path(name)
        with self._lock:
            alias = None if self._is_collection(name) else self._aliases.read().get(name)
            if (name in self._open or alias) and not exist_ok:
                what = f"an alias of {alias!r}" if alias else "a collection"
                raise CollectionExists(f"there is {what} {name!r} already")
            if name in self._open or alias:
                collection = self.open(name)
                collection.require(fingerprint, dim, metric, dtype)
                return collection
            collection = Collection.create(
                path,
                dim=dim,
                fingerprint=fingerprint,
                metric=metric,
                dtype=dtype,
                index=index,
                exist_ok=exist_ok,
                files=self._files,
            )
            self._errors.pop(name, None)
            self._open[name] = collection
            return collection

    def drop(self, name: str) -> None:
        """Deletes the collection and all that is in it, for good, even one that cannot be opened.

        Refused while an alias points to it.
        """
        path = self._path(name)
        with self._lock:
            aliases = self._aliases.read()
            if not self._is_collection(name) and name in aliases:
                raise CollectionAliased(f"{name!r} is an alias of {aliases[name]!r}, expected a collection")
            if not self._is_collection(name):
                raise CollectionNotFound(f"there is no collection {name!r}")
            if pointing := sorted(alias for alias, target in aliases.items() if target == name):
                raise CollectionAliased(f"collection {name!r} has aliases: {', '.join(pointing)}")
            collection = self._open.pop(name, None)
            if collection is not None:
                collection.close()
            lock = self._files.lock(path / LOCK)  # nobody else may be using it
            trash = self.root / f"{TRASH}{name}-{secrets.token_hex(4)}"
            try:
                self._files.rename(path, trash)  # from here on it is gone, whatever happens
            finally:
                lock.release()
            self._errors.pop(name, None)
            self._files.remove_folder(trash)

    def alias(self, name: str, target: str) -> None:
        """Makes `name` a second name of the collection `target`, in one step if it was one of another."""
        self._path(name)
        self._path(target)
        with self._lock:
            if self._is_collection(name) or name in self._open:
                raise CollectionExists(f"there is a collection {name!r} already, expected a new name")
            if not self._is_collection(target):
                if target in self._aliases.read():
                    raise CollectionAliased(f"{target!r} is an alias itself, expected a collection")
                raise CollectionNotFound(f"there is no collection {target!r}")
            self._aliases.write({name: target})

    def unalias(self, name: str) -> None:
        """Removes the alias; its collection stays."""
        self._path(name)
        with self._lock:
            if name not in self._aliases.read():
                raise CollectionNotFound(f"there is no alias {name!r}")
            self._aliases.write({name: None})

    def aliases(self) -> dict[str, str]:
        """The collection of each alias."""
        with self._lock:
            return self._aliases.read()

    def _is_collection(self, name: str) -> bool:
        return (self._path(name) / DATABASE).is_file()

    def _names(self) -> Sequence[str]:
        return _names(self.root)

    def _opened(self, name: str) -> Collection:
        return Collection.open(self._path(name), files=self._files)

    def _resolved(self, name: str) -> str:
        """The name of the collection, which an alias may have been given for."""
        self._path(name)
        if name in self._open or name in self._errors or self._is_collection(name):
            return name
        target = self._aliases.read().get(name, name)
        if target != name and not self._is_collection(target):
            raise CollectionNotFound(f"alias {name!r} points to collection {target!r}, which is not there")
        return target

    def _path(self, name: str) -> Path:
        return self.root / checked_name(name)


def _names(root: Path) -> list[str]:
    """The folders of the root that look like collections."""
    try:
        names = sorted(entry.name for entry in root.iterdir() if (entry / DATABASE).is_file())
    except OSError as error:
        raise StorageFailed(f"{root}: {error}") from error
    return [name for name in names if NAME.fullmatch(name)]
