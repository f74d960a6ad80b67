"""Texts that no font can draw are recognised as such."""

from pathlib import Path

import pytest
from polylens.demo import lettering
from polylens.demo.lettering import drawable, font_options
from polylens.errors import InvalidInput


def pillow_only() -> dict[str, object]:
    """The options of a machine without a single font."""
    return {"font_dirs": [], "font_files": font_options()["font_files"], "skip_system_fonts": True}


def test_without_fonts_the_latin_letters_of_pillow_remain() -> None:
    texts = ["a red apple", "paka & <mbwa>", "красное яблоко", "红苹果", "हिन्दी", "şemsiye"]
    assert drawable(texts, pillow_only()) == {"a red apple", "paka & <mbwa>"}


def test_more_fonts_draw_more(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lettering._matplotlib_fonts()
    assert folder is not None
    texts = ["красное яблоко", "şemsiye", "ένα κλειδί", "מפתח", "مفتاح", "con mèo ậ", "红苹果"]
    found = drawable(texts, {**pillow_only(), "font_dirs": [str(folder)]})
    assert found == set(texts) - {"红苹果"}


def test_a_folder_of_fonts_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a folder of fonts"):
        font_options(tmp_path / "none")
    assert str(tmp_path) in font_options(tmp_path)["font_dirs"]
