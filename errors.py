"""Base classes of every error polylens raises on purpose.

    PolylensError
    ├── InvalidInput          the caller's data is wrong (also a ValueError)
    └── MissingExtra          an optional dependency is not installed (also an ImportError)

Folders derive their own errors from these. None knows a transport: the service maps classes to status codes.
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
    package = module.partition(".")[0]
    remedy = f"pip install 'polylens[{extra}]'"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == package:
            raise MissingExtra(f"{package} is not installed; install it with: {remedy}") from error
        raise MissingExtra(f"{package} needs {error.name}, which is not installed; try: {remedy}") from error
    except ImportError as error:
        raise MissingExtra(f"{package} is installed but does not load ({error}); try: {remedy}") from error
