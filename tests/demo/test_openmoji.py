"""Which emoji are in the gallery, and how they are drawn."""

import hashlib
import os
from pathlib import Path

import emoji
import pytest
from PIL import Image
from polylens.demo import openmoji
from polylens.demo.openmoji import SKIN_TONES, Drawing, attribution, drawings, key_of, pictures


@pytest.mark.parametrize(
    ("emoji", "key"),
    [("🐋", "1f40b"), ("☂️", "2602"), ("👋🏻", "1f44b-1f3fb"), ("#️⃣", "23-20e3"), ("👩‍🚀", "1f469-200d-1f680")],
)
def test_key_leaves_variation_selectors_out(emoji: str, key: str) -> None:
    assert key_of(emoji) == key


def test_gallery_holds_each_named_emoji_once() -> None:
    every, base = drawings(variants=True), drawings()
    assert len({drawing.key for drawing in every}) == len(every) > 3900
    assert [drawing.key for drawing in every] == sorted(drawing.key for drawing in every)
    assert 1900 < len(base) < 2000
    assert {drawing.key for drawing in base} < {drawing.key for drawing in every}
    assert all(drawing.name and ":" not in drawing.name and "_" not in drawing.name for drawing in every)


def test_gallery_leaves_out_what_is_no_emoji_on_its_own() -> None:
    base, every = {d.emoji for d in drawings()}, {d.emoji for d in drawings(variants=True)}
    waving = "👋🏽"
    assert waving in every and waving not in base and "👋" in base
    components = {c for c, e in emoji.EMOJI_DATA.items() if e["status"] == emoji.STATUS["component"]}
    assert "🏽" in components and not components & every
    assert not any(SKIN_TONES & set(character) for character in base)
    # OpenMoji's own extras stand at the private use area, as U+E045.
    assert not any(0xE000 <= ord(character[0]) <= 0xF8FF for character in every)


def test_drawings_are_opaque_pngs_on_white(files: dict[str, Path], gallery: list[Drawing]) -> None:
    assert list(files) == [drawing.key for drawing in gallery] and len(files) == 12
    for file in files.values():
        with Image.open(file) as picture:
            assert (picture.format, picture.size) == ("PNG", (64, 64))
            pixels = picture.convert("RGBA")
        assert pixels.getpixel((0, 0)) == (255, 255, 255, 255)
        assert pixels.getchannel("A").getextrema() == (255, 255)
        assert len(set(pixels.resize((16, 16)).tobytes())) > 2  # something is drawn


def test_drawing_again_gives_the_same_bytes(
    gallery: list[Drawing], files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openmoji, "WORTH_PROCESSES", 1)  # also drawn by other processes
    again = pictures(gallery[:3], size=64, folder=tmp_path)
    for key, file in again.items():
        assert file.read_bytes() == files[key].read_bytes()
    other = pictures(gallery[:1], size=32, folder=tmp_path / "small")
    assert digest(other[gallery[0].key]) != digest(files[gallery[0].key])  # control


def test_only_missing_drawings_are_drawn(gallery: list[Drawing], cache: Path) -> None:
    first = pictures(gallery[:2], size=32)
    kept, gone = first.values()
    assert kept.is_relative_to(cache) and "32px" in kept.parent.name
    os.utime(kept, (1, 1))
    gone.unlink()
    assert pictures(gallery[:2], size=32) == first
    assert kept.stat().st_mtime == 1 and gone.exists()


def test_attribution_names_project_and_licence() -> None:
    assert "OpenMoji" in attribution() and "CC BY-SA 4.0" in attribution()


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
