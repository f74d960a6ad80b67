"""Serves a model and its collections over gRPC; `Client` and `AsyncClient` ask such a server."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["AsyncClient", "Client", "Engine", "Identity", "Server", "Settings"]

if TYPE_CHECKING:
    from .client import AsyncClient, Client
    from .engine import Engine
    from .identity import Identity
    from .server import Server
    from .settings import Settings

_HOMES = {
    "AsyncClient": ".client",
    "Client": ".client",
    "Engine": ".engine",
    "Identity": ".identity",
    "Server": ".server",
    "Settings": ".settings",
}


def __getattr__(name: str) -> Any:
    # Lazy: a client needs neither FAISS nor the server's libraries.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)
