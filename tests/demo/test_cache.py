"""The platform's convention for a cache folder."""

import sys
from pathlib import Path

import pytest
from polylens.demo.cache import cache_folder


def test_xdg_cache_home_is_honoured_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "polylens"


@pytest.mark.parametrize(
    ("platform", "below_home"),
    [
        ("linux", ".cache/polylens"),
        ("darwin", "Library/Caches/polylens"),
        ("win32", "AppData/Local/polylens/Cache"),
    ],
)
def test_platform_convention(
    platform: str, below_home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / below_home
