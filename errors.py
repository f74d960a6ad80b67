"""Base classes of every error polylens raises on purpose.

    PolylensError
    ├── InvalidInput          the caller's data is wrong (also a ValueError)
    └── MissingExtra          an optional dependency is not installed (also an ImportError)

Each folder derives its own errors from these. They know no transport: the service maps classes to status codes.
"""

import importlib
from types import ModuleType


class PolylensError(Exception):
    """Anything polylens refuses or fails to do, with a message meant for people."""


class InvalidInput(PolylensError, ValueError):
    """The data handed in is wrong; the message says what was got and what was expected."""


class MissingExtra(PolylensError, ImportError):
    """An optional dependency is not installed; the message names the command that installs it."""


def require(module: str, extra: str) -> ModuleType:
    """The imported optional module, or `MissingExtra` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module.split('.')[0]} is not installed; install it with: pip install 'polylens[{extra}]'"
        ) from error
