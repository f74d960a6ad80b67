"""Where things that can always be made again are kept between runs."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder of polylens by the platform's convention; not created here."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "polylens"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "polylens"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(local) / "polylens" / "Cache"
    return Path.home() / ".cache" / "polylens"
