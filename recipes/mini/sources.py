"""What `mini` learns from.

The drawings of ten emoji styles and the CLDR names and keywords, read from unpacked npm packages.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Style -> npm package of the Iconify project: each vendor's drawings as SVG bodies under English names.
STYLES = {
    "noto": "@iconify-json/noto",
    "noto-v1": "@iconify-json/noto-v1",
    "twemoji": "@iconify-json/twemoji",
    "emojione": "@iconify-json/emojione",
    "emojione-v1": "@iconify-json/emojione-v1",
    "emojione-monotone": "@iconify-json/emojione-monotone",
    "fxemoji": "@iconify-json/fxemoji",
    "fluent": "@iconify-json/fluent-emoji",
    "fluent-flat": "@iconify-json/fluent-emoji-flat",
    "fluent-high-contrast": "@iconify-json/fluent-emoji-high-contrast",
}

LANGUAGES = (
    "en zh es ar hi sw fr de ja ko ru pt it tr id vi th bn fa uk el nl pl cs ro hu sv da fi he ur ta ms bg"
).split()

TONES = {0x1F3FB, 0x1F3FC, 0x1F3FD, 0x1F3FE, 0x1F3FF}


@dataclass(frozen=True)
class Drawing:
    """One vendor's drawing of one emoji, as a whole SVG document."""

    group: str
    style: str
    svg: str


def group_of(emoji: str) -> str:
    """The concept's key: code points in hex joined by '-', without variation selectors (as '1f44b-1f3fb')."""
    return "-".join(f"{ord(c):x}" for c in emoji if ord(c) != 0xFE0F)


def is_toned(group: str) -> bool:
    """Whether a skin-tone modifier is part of the sequence."""
    return any(int(point, 16) in TONES for point in group.split("-"))


def package_folder(packages: Path, name: str) -> Path:
    """Where fetch.sh unpacked the npm package `name`."""
    return packages / re.sub("[/@]", "_", name) / "package"


def annotations(packages: Path, language: str) -> dict[str, tuple[str, list[str]]]:
    """CLDR's short name and keywords of every annotated character, by group."""
    found: dict[str, tuple[str, list[str]]] = {}
    for package, top in (
        ("cldr-annotations-full", "annotations"),
        ("cldr-annotations-derived-full", "annotationsDerived"),
    ):
        path = package_folder(packages, package) / top / language / "annotations.json"
        if not path.exists():
            continue
        for emoji, entry in json.loads(path.read_text("utf-8"))[top]["annotations"].items():
            if "tts" in entry:
                found[group_of(emoji)] = (entry["tts"][0], entry.get("default", []))
    return found


def slug(name: str) -> str:
    """An English name as Iconify writes it: ASCII letters and digits joined by '-'."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = plain.replace("&", "and").replace("'", "").replace("#", "hash").replace("*", "asterisk")
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def slugs_to_groups(packages: Path, english: dict[str, tuple[str, list[str]]]) -> dict[str, str]:
    """English slug -> group, from CLDR, from the packages that list code points.

    And from the data source's short names.
    """
    table: dict[str, str] = {}
    for name in STYLES.values():
        folder = package_folder(packages, name)
        chars = json.loads((folder / "chars.json").read_text())
        table.update(
            {
                icon: group_of("".join(chr(int(p, 16)) for p in code.split("-")))
                for code, icon in chars.items()
            }
        )
        aliases = json.loads((folder / "icons.json").read_text()).get("aliases", {})
        table.update(
            {
                a: table[e["parent"]]
                for a, e in aliases.items()
                if e["parent"] in table and set(e) == {"parent"}
            }
        )
    for entry in json.loads((package_folder(packages, "emoji-datasource-google") / "emoji.json").read_text()):
        group = group_of("".join(chr(int(p, 16)) for p in entry["unified"].split("-")))
        for short in [entry["name"] or "", *entry["short_names"]]:
            table.setdefault(slug(short), group)
    table.update({slug(name): group for group, (name, _) in english.items()})
    for key, group in list(table.items()):
        if key.startswith("flag-"):
            table.setdefault("flag-for-" + key[5:], group)
        if key.endswith("-skin-tone"):  # Fluent leaves the last two words out
            table.setdefault(key.removesuffix("-skin-tone"), group)
    for key, group in list(table.items()):  # FxEmojis writes everything in one word
        table.setdefault(key.replace("-", ""), group)
    return table


def drawings(packages: Path, slugs: dict[str, str]) -> Iterator[Drawing]:
    """Every drawing whose name is understood, at most one a style and group."""
    for style, name in STYLES.items():
        icons: dict[str, Any] = json.loads((package_folder(packages, name) / "icons.json").read_text())
        seen: set[str] = set()
        for icon, body in icons["icons"].items():
            group = slugs.get(icon)
            if group is None or group in seen:
                continue
            seen.add(group)
            width, height = (
                body.get("width", icons.get("width", 16)),
                body.get("height", icons.get("height", 16)),
            )
            yield Drawing(
                group,
                style,
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{body.get("left", 0)} {body.get("top", 0)} {width} {height}">{body["body"]}</svg>',
            )
