"""What each emoji is called in each language.

Two sources: the pip package `emoji` (14 languages), and Unicode CLDR's annotations (170 locales) as the npm
packages `cldr-annotations-full` and `cldr-annotations-derived-full` hold them, from the user's own folder.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import InvalidInput, require

# Where a package's content lies below the given folder: the package itself, unpacked there, or among others.
DEPTHS = ("", "*/", "*/*/")


def plain_words(name: str) -> str:
    """An `emoji` package name as a person writes it: ':red_apple:' -> 'red apple'."""
    return name.strip(":").replace("_", " ").strip()


def packaged_languages() -> list[str]:
    """The tags of the languages that the `emoji` package has names in."""
    return list(require("emoji", "demo").LANGUAGES)


def packaged_names(language: str, emojis: Sequence[str]) -> dict[str, str]:
    """The short name of each of `emojis` that the `emoji` package names in `language`."""
    emoji = require("emoji", "demo")
    emoji.config.load_language(language)
    entries = ((character, emoji.EMOJI_DATA.get(character, {}).get(language)) for character in emojis)
    return {character: plain_words(name) for character, name in entries if name}


def cldr_names(folder: Path, language: str, emojis: Sequence[str]) -> dict[str, str]:
    """The short name (CLDR's `tts`) of each of `emojis` that CLDR names in `language`; empty if none."""
    named: dict[str, str] = {}
    for top in ("annotations", "annotationsDerived"):
        for file in _annotation_files(folder, top, language):
            entries = json.loads(file.read_text("utf-8"))[top]["annotations"]
            named |= {character: entry["tts"][0] for character, entry in entries.items() if entry.get("tts")}
    # CLDR leaves every variation selector out.
    bare = {character: character.replace("\ufe0f", "") for character in emojis}
    return {character: named[bare[character]] for character in emojis if bare[character] in named}


def names(language: str, emojis: Sequence[str], *, cldr: Path | None = None) -> dict[str, str]:
    """The short name of each of `emojis` in `language`: CLDR's under `cldr`, else the `emoji` package's."""
    found = cldr_names(cldr, language, emojis) if cldr is not None else {}
    if found:
        return found
    if language in packaged_languages():
        return packaged_names(language, emojis)
    if cldr is not None:
        missing = f"annotations/{language}/annotations.json"
        raise InvalidInput(f"no names in {language!r}: no {missing} under {cldr}")
    raise InvalidInput(
        f"no names in {language!r}: the emoji package has {', '.join(packaged_languages())}; "
        "further languages need a folder with the npm package cldr-annotations-full"
    )


def _annotation_files(folder: Path, top: str, language: str) -> list[Path]:
    if not language.replace("-", "").isalnum():
        raise InvalidInput(f"{language!r} is not a language tag")
    where = f"{top}/{language}/annotations.json"
    return [file for depth in DEPTHS for file in sorted(folder.glob(depth + where))]
