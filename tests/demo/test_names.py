"""Names of emoji in many languages, from the emoji package and from CLDR's files."""

import json
from pathlib import Path

import pytest
from polylens.demo.names import cldr_names, names, packaged_languages, plain_words
from polylens.errors import InvalidInput

APPLE, SUN, KENYA = "🍎", "☀️", "🇰🇪"


@pytest.fixture(params=["", "cldr-annotations-full", "unpacked/package"])
def cldr(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder in which the two npm packages lie, at each depth they may be found."""
    for top, entries in {
        "annotations": {APPLE: {"tts": ["tofaa"], "default": ["tunda"]}, "☀": {"tts": ["jua"]}, "🐈": {}},
        "annotationsDerived": {KENYA: {"tts": ["bendera: Kenya"]}},
    }.items():
        file = tmp_path / request.param / top / "sw" / "annotations.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({top: {"identity": {"language": "sw"}, "annotations": entries}}))
    return tmp_path


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        (":red_apple:", "red apple"),
        (":赤リンゴ:", "赤リンゴ"),
        (":O_button_(blood_type):", "O button (blood type)"),
    ],
)
def test_markers_become_plain_words(marked: str, plain: str) -> None:
    assert plain_words(marked) == plain


def test_the_emoji_package_has_fourteen_languages() -> None:
    assert set(packaged_languages()) >= set("en es ja ko pt it fr de fa id zh ru tr ar".split())
    found = {language: names(language, [APPLE, SUN])[APPLE] for language in ("en", "de", "zh", "ar")}
    assert found == {"en": "red apple", "de": "roter apfel", "zh": "红苹果", "ar": "تفاح أحمر"}


def test_cldr_names_wherever_the_package_lies(cldr: Path) -> None:
    assert names("sw", [APPLE, SUN, KENYA, "🐈"], cldr=cldr) == {
        APPLE: "tofaa",
        SUN: "jua",  # CLDR writes it without its variation selector
        KENYA: "bendera: Kenya",
    }
    assert cldr_names(cldr, "xx", [APPLE]) == {}


def test_cldr_comes_before_the_emoji_package(cldr: Path) -> None:
    assert names("en", [APPLE], cldr=cldr) == {APPLE: "red apple"}  # CLDR has no English here
    (sw,) = cldr.glob("**/annotations/sw")
    sw.rename(sw.with_name("en"))
    assert names("en", [APPLE], cldr=cldr) == {APPLE: "tofaa"}


def test_a_language_without_names_is_refused(cldr: Path) -> None:
    with pytest.raises(InvalidInput, match="no names in 'sw'.*cldr-annotations-full"):
        names("sw", [APPLE])
    with pytest.raises(InvalidInput, match="no annotations/xx/annotations.json"):
        names("xx", [APPLE], cldr=cldr)
    with pytest.raises(InvalidInput, match="not a language tag"):
        names("../sw", [APPLE], cldr=cldr)
    assert names("sw", [APPLE], cldr=cldr)  # control
