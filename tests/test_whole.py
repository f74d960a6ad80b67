"""A file written whole: the new content or the old, and nothing beside it."""

import os
from pathlib import Path

import pytest
from polylens.whole import clear_leftovers, write_whole


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text("old")
    return path


def content(file: Path) -> list[tuple[str, str]]:
    return [(one.name, one.read_text()) for one in file.parent.iterdir()]


def test_a_failed_write_leaves_the_old_file(file: Path) -> None:
    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(file, fail)
    assert content(file) == [("config.json", "old")]


def test_a_failed_rename_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="disk"):
        broken.setattr(os, "replace", fail)
        write_whole(file, lambda path: path.write_text("new"))
    assert content(file) == [("config.json", "old")]


@pytest.mark.parametrize("sync", [True, False])
def test_the_content_is_synced_before_the_name_changes_if_asked(
    file: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("rename"), replace(*paths)))
    write_whole(file, lambda path: path.write_text("new"), sync=sync)
    assert content(file) == [("config.json", "new")]
    assert calls == (["sync", "rename"] if sync else ["rename"])


def test_what_a_killed_writer_left_is_cleared_and_nothing_else(file: Path) -> None:
    for name in (".config.json.1a2b", ".config.json.77.new", ".other.json.1a2b"):
        (file.parent / name).write_text("half")
    clear_leftovers(file)
    assert sorted(name for name, _ in content(file)) == [".other.json.1a2b", "config.json"]
